"""What composes a whole service: its standing parts, its tables, its command line."""
