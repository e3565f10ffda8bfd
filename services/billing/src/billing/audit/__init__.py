"""Changes made by hand, with who made them."""

from billing.audit.operations import record
from billing.audit.rules import Actor
from billing.audit.tables import AuditRow

__all__ = ["Actor", "AuditRow", "record"]
