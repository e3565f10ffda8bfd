"""The composition of a service: its parts, settings, tables and command line."""
