"""Many jobs in one request."""

from jobs.bulk.operations import create

__all__ = ["create"]
