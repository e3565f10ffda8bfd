"""The ownership of a tenant: exactly one owner at any time, who can hand it over."""

from identity.ownership.operations import transfer

__all__ = ["transfer"]
