"""Bulk commands: API access granted to, or revoked from, all merchants that match the filters of the list."""
