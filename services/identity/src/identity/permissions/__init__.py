"""Permissions: the catalogue of all that can be granted."""

from identity.permissions.queries import get_catalog

__all__ = ["get_catalog"]
