"""Permissions: the catalogue of all that can be granted, and why somebody may do something, or not."""

from identity.permissions.operations import explain
from identity.permissions.queries import get_catalog

__all__ = ["explain", "get_catalog"]
