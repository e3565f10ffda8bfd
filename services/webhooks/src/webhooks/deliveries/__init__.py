"""Deliveries and their attempts: recorded, listed, sent again, tested."""

from webhooks.deliveries.details import get
from webhooks.deliveries.endpoint_tests import EndpointTester
from webhooks.deliveries.matching import Match, Span
from webhooks.deliveries.operations import resend
from webhooks.deliveries.queries import list_deliveries
from webhooks.deliveries.results import AttemptResult, record_first_attempts, record_leased_attempts
from webhooks.deliveries.rules import Decision, decide, retry_after_seconds
from webhooks.deliveries.schemas import DeliveryConditions, DeliveryFilters, EndpointTestResult
from webhooks.deliveries.tables import AttemptRow, DeliveryRow

__all__ = [
    "AttemptResult",
    "AttemptRow",
    "Decision",
    "DeliveryConditions",
    "DeliveryFilters",
    "DeliveryRow",
    "EndpointTestResult",
    "EndpointTester",
    "Match",
    "Span",
    "decide",
    "get",
    "list_deliveries",
    "record_first_attempts",
    "record_leased_attempts",
    "resend",
    "retry_after_seconds",
]
