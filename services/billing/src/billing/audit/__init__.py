"""The audit trail: changes that operators made, with the values before and after."""

from billing.audit.operations import record
from billing.audit.tables import AuditRow

__all__ = ["AuditRow", "record"]
