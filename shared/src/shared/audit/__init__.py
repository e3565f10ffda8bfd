"""The audit trail: who did what to which record, from where, with the values before and after."""

from shared.audit.actors import Actor, Origin
from shared.audit.operations import NOWHERE, record, record_person, record_service

__all__ = ["NOWHERE", "Actor", "Origin", "record", "record_person", "record_service"]
