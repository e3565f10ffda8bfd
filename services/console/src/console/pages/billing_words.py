"""Billing in words: how a subscription stands as one sentence with its date, and what plans include."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console.i18n import Words, mark
from console.i18n import gettext as _

LABELS = {
    "trialing": (mark("Trial"), "info"),
    "incomplete": (mark("Waiting for payment"), "warn"),
    "active": (mark("Active"), "good"),
    "past_due": (mark("Past due"), "bad"),
    "unpaid": (mark("Unpaid"), "bad"),
    "canceled": (mark("Ended"), "idle"),
    "expired": (mark("Trial over"), "bad"),
}
INVOICES = {"open": (mark("Not paid yet"), "warn"), "paid": (mark("Paid"), "good"), "void": (mark("Void"), "idle")}
FEATURES = {
    "webhook_endpoints": mark("webhook endpoints"),
    "requests_per_second": mark("requests a second"),
}
TAXES = {"GST": mark("GST"), "HST": mark("HST"), "QST": mark("QST"), "PST": mark("PST")}
"""Taxes that have a name of their own in each language of their country."""
INTERVALS = {"month": mark("a month"), "year": mark("a year")}


@dataclass(frozen=True, slots=True)
class State:
    """How a subscription stands."""

    label: str
    kind: str
    sentence: str


def state_of(it: Mapping[str, Any], plan: str, next_plan: str, words: Words) -> State:
    """The state of a subscription to a plan with this name, and with that of the one from the next period on."""
    label, kind = LABELS[it["status"]]
    if it["status"] == "active" and it["cancel_at_period_end"]:
        label, kind = mark("Ends"), "warn"
    elif it["status"] == "active" and it["payment_pending"]:
        kind = "warn"
    names = {
        "plan": plan,
        "next": next_plan,
        "trial": words.instant(it["trial_ends_at"]),
        "access": words.instant(it["access_until"]),
        "end": words.instant(it["current_period_end"]),
        "due": words.instant(it["payment_due_at"]),
        "attempt": words.instant(it["next_payment_attempt_at"]),
    }
    return State(_(label), kind, _sentence(it) % names)


def _sentence(it: Mapping[str, Any]) -> str:
    match it["status"]:
        case "trialing":
            return _("Your trial ends on %(trial)s.")
        case "expired":
            return _("Your trial ended on %(trial)s. Everything is kept, and goes on with a plan.")
        case "canceled":
            return _("Your subscription ended on %(access)s. Everything is kept, and goes on with a plan.")
        case "incomplete":
            return _("%(plan)s begins as soon as its first invoice is paid, by %(due)s at the latest.")
        case "unpaid":
            return _("Access ended on %(access)s, because the invoice was not paid. It goes on as soon as it is.")
        case "past_due" if it["next_payment_attempt_at"]:
            return _("The last payment failed. It is tried again on %(attempt)s; access ends on %(access)s.")
        case "past_due":
            return _("The last payment failed, and is being tried again now; access ends on %(access)s.")
        case _ if it["complimentary"]:
            return _("%(plan)s is yours free of charge until %(access)s.")
        case _ if it["cancel_at_period_end"]:
            return _("%(plan)s ends on %(end)s. Until then everything works.")
        case _ if it["payment_due_at"]:
            return _("%(plan)s runs until %(end)s. An invoice is to be paid by %(due)s.")
        case _ if it["payment_pending"]:
            return _("%(plan)s runs until %(end)s. A payment is under way.")
        case _ if it["next_plan"]:
            return _("%(plan)s runs until %(end)s; %(next)s follows.")
        case _:
            return _("%(plan)s renews on %(end)s.")


def plan_name(names: Mapping[str, str], words: Words, otherwise: str = "") -> str:
    """A plan's name in the reader's language."""
    return names.get(words.language) or names.get("en") or next(iter(names.values()), otherwise)
