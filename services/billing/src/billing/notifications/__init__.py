"""Notifications of payment providers: they make billing look sooner, and are believed in nothing else."""

from billing.notifications.operations import receive

__all__ = ["receive"]
