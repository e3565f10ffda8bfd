"""What a difference is."""

from dataclasses import dataclass
from typing import Literal

from billing.payments import ChargeState
from billing.providers import ChargeResult, Declined, Succeeded

DifferenceKind = Literal[
    "numbers_with_gaps",
    "receivable_differs",
    "revenue_differs",
    "cash_differs",
    "credit_owed",
    "open_invoice_differs",
    "task_missing",
    "charge_result_missing",
    "charge_unknown_to_provider",
    "charge_taken_after_decline",
    "provider_not_asked",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two records that ought to say the same, and do not."""

    kind: DifferenceKind
    tenant_id: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.tenant_id}: {self.detail}"


def compare_charge(tenant_id: str, key: str, state: ChargeState, result: ChargeResult | None) -> Difference | None:
    """The difference between a charge here and at its provider; None: they say the same, or neither knows.

    `charge_result_missing` can be put right: the provider knows what became of a charge that is under way here.
    """
    known = "succeeded" if isinstance(result, Succeeded) else "declined" if isinstance(result, Declined) else None
    if known == state or (known is None and state != "succeeded"):
        return None
    detail = f"{key} is {state} here, {known or 'unknown'} at the provider"
    if state in ("succeeded", "declined"):
        kind: DifferenceKind = "charge_unknown_to_provider" if state == "succeeded" else "charge_taken_after_decline"
        return Difference(kind, tenant_id, detail)
    return Difference("charge_result_missing", tenant_id, detail)
