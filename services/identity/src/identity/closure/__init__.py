"""The end of a tenant: closed for good at once, its personal data deleted after some days."""

from identity.closure.operations import PURGE, close, purge_some

__all__ = ["PURGE", "close", "purge_some"]
