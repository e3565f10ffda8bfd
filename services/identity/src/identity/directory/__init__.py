"""The directory: ids and names of merchants and locations, for people who work with jobs and may see nothing else of them."""

from identity.directory.queries import list_locations, list_merchants

__all__ = ["list_locations", "list_merchants"]
