"""Create many jobs with one request."""

from jobs.bulk.operations import create

__all__ = ["create"]
