"""The audit trail: who did what to which record, from where, with the values before and after."""

from shared.audit.actors import Actor, Origin

__all__ = ["Actor", "Origin"]
