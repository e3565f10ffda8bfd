"""What an invoice says: lines, taxes, total. Lines are rounded together, once; each tax once, half to even."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Literal

from billing.money import round_half_even, round_together
from billing.plans import PlanTerms, TaxRate
from shared.errors import Conflict, NotFound

InvoiceStatus = Literal["open", "paid", "void"]
LineKind = Literal["plan", "credit"]
_MILLION = 1_000_000


class InvoiceNotFound(NotFound):
    """The tenant has no such invoice."""

    code = "invoice_not_found"

    def __init__(self) -> None:
        super().__init__("no such invoice")


class InvoiceNotOpen(Conflict):
    """The invoice is paid or void already."""

    code = "invoice_not_open"

    def __init__(self, status: str):
        super().__init__(f"this invoice is {status}", current_status=status)


class AmountChanged(Conflict):
    """The caller has seen another amount."""

    code = "amount_changed"

    def __init__(self, expected: int, due: int):
        super().__init__(
            f"the amount due now is {due}, not {expected}: ask for a preview again",
            expected=expected,
            amount_due=due,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice."""

    kind: LineKind
    plan: str
    plan_version: int
    names: Mapping[str, str]
    period_start: datetime
    period_end: datetime
    amount: int


@dataclass(frozen=True, slots=True)
class Draft:
    """The lines of an invoice, before rounding."""

    currency: str
    lines: Sequence[tuple[LineKind, PlanTerms, datetime, datetime, Fraction | int]]


@dataclass(frozen=True, slots=True)
class TaxLine:
    """A tax on the whole invoice."""

    name: str
    rate_ppm: int
    amount: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What is to be paid, and for what."""

    currency: str
    lines: Sequence[Line]
    taxes: Sequence[TaxLine]
    subtotal: int
    tax: int
    total: int
    credit_applied: int
    """What of the tenant's credit pays it, or a part of it, at once."""

    @property
    def amount_due(self) -> int:
        return self.total - self.credit_applied


def draft_of_period(plan: PlanTerms, start: datetime, end: datetime) -> Draft:
    """A whole period of a plan."""
    return Draft(plan.currency, [("plan", plan, start, end, plan.amount)])


def draft_of_change(
    former: PlanTerms, plan: PlanTerms, *, at: datetime, former_end: datetime, end: datetime, days_left: int, days: int
) -> Draft:
    """A dearer plan from now on, with a credit by days for what is left of the former one.

    A plan of the same interval is paid for the days that are left; one of another interval begins a period of its own.
    """
    left = Fraction(days_left, days)
    share = left if plan.interval == former.interval else Fraction(1)
    return Draft(
        plan.currency,
        [
            ("credit", former, at, former_end, -former.amount * left),
            ("plan", plan, at, end, plan.amount * share),
        ],
    )


def quote(draft: Draft, rates: Sequence[TaxRate], credit: int = 0) -> Quote:
    """The draft in whole amounts, with its taxes, for a tenant that has this credit."""
    amounts = round_together([exact for *_, exact in draft.lines])
    lines = [
        Line(kind, plan.code, plan.version, dict(plan.names or {}), start, end, amount)
        for (kind, plan, start, end, _), amount in zip(draft.lines, amounts, strict=True)
    ]
    subtotal = sum(amounts)
    taxes = [TaxLine(rate.name, rate.rate_ppm, round_half_even(subtotal * rate.rate_ppm, _MILLION)) for rate in rates]
    tax = sum(one.amount for one in taxes)
    return Quote(draft.currency, lines, taxes, subtotal, tax, subtotal + tax, min(credit, subtotal + tax))


def numbered(kind: Literal["invoice", "credit_note"], number: int) -> str:
    """The number as documents show it: INV-0001, CRN-0001."""
    return f"{'INV' if kind == 'invoice' else 'CRN'}-{number:04d}"
