"""Reads the catalogue of permissions."""

from identity.permissions.schemas import PermissionCatalog, PermissionEntry
from shared.access.permissions import CATALOG


def get_catalog() -> PermissionCatalog:
    """All permissions, with what they allow."""
    return PermissionCatalog(
        data=[
            PermissionEntry(code=entry.code, description=entry.description, relevance=entry.relevance)
            for entry in CATALOG
        ]
    )
