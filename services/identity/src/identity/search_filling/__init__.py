"""Gives records the words by which they are found, where they have none: after a migration, and from replicas of a release before."""

from identity.search_filling.operations import fill

__all__ = ["fill"]
