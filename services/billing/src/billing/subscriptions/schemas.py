"""Subscriptions in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.invoices import InvoiceLine, InvoiceTax, Quote
from billing.money import AMOUNT_MAX
from billing.plans import PlanTerms
from billing.subscriptions.terms import Status, Terms
from shared.api import Input
from shared.ids import PaymentMethodId
from shared.timestamps import Timestamp

PLAN_CHARS_MAX = 63

Transition = Literal["subscribe", "change", "cancel", "resume", "pay"]
CancellationTime = Literal["period_end", "now"]
PlanCode = Annotated[
    str,
    ApiField(
        min_length=1,
        max_length=PLAN_CHARS_MAX,
        description="A plan of `GET /v1/billing/plans`.",
        examples=["starter_monthly"],
    ),
]
ExpectedAmount = Annotated[
    int | None,
    ApiField(
        None,
        ge=0,
        le=AMOUNT_MAX,
        description="`amount_due` of the preview that was shown: 409 when it is another amount now, and nothing is bought.",
        examples=[5145],
    ),
]


class TenantSubscription(BaseModel):
    """A tenant and its subscription, as the platform lists them."""

    object: Literal["tenant_subscription"] = "tenant_subscription"
    tenant_id: str = ApiField(description="The tenant: each has one.", examples=["ten_01h455vb4pex5vsknk084sn02q"])
    tenant_name: str | None = ApiField(
        description="The tenant's name; null for the moment until billing knows it.", examples=["Livraisons Laurier"]
    )
    status: Status = ApiField(description="Status of the subscription.")
    plan: str | None = ApiField(description="The subscribed plan; null while there is none.")
    trial_ends_at: datetime | None = ApiField(description="First instant after the trial; it stays when it has passed.")
    access_until: datetime | None = ApiField(description="First instant without access; null: access has no end.")
    payment_pending: bool = ApiField(description="Whether an invoice is open.")
    livemode: bool = ApiField(description="False for a test tenant.")
    created_at: datetime = ApiField(description="When the tenant was created and its trial started.")


class Subscription(BaseModel):
    """A tenant's subscription. `entitled` is computed at the instant of the answer."""

    object: Literal["subscription"] = "subscription"
    id: str = ApiField(description="Id of the subscription.", examples=["sub_01h455vb4pex5vsknk084sn02q"])
    tenant_id: str = ApiField(description="The tenant: each has one.", examples=["ten_01h455vb4pex5vsknk084sn02q"])
    status: Status = ApiField(
        description="trialing, incomplete, active and past_due entitle until `access_until`; the other statuses never do."
    )
    plan: str | None = ApiField(description="The subscribed plan; null while there is none.")
    next_plan: str | None = ApiField(
        description="The plan from the next period on; null: the same.", examples=["starter_monthly"]
    )
    features: dict[str, bool | int] = ApiField(
        description="What the plan includes: a feature that is on or off, or a limit.",
        examples=[{"webhook_endpoints": 5}],
    )
    trial_ends_at: datetime | None = ApiField(description="First instant after the trial; it stays when it has passed.")
    access_until: datetime | None = ApiField(description="First instant without access; null: access has no end.")
    current_period_start: datetime | None = ApiField(description="Begin of the period that is paid, or to be paid.")
    current_period_end: datetime | None = ApiField(description="End of the paid period.")
    cancel_at_period_end: bool = ApiField(description="Whether the subscription ends with the current period.")
    complimentary: bool = ApiField(description="Whether it was granted, and nothing is to be paid.")
    payment_pending: bool = ApiField(description="Whether an invoice is open.")
    payment_due_at: datetime | None = ApiField(
        description="By when the open invoice is to be paid; null: there is none, or it is charged."
    )
    next_payment_attempt_at: datetime | None = ApiField(description="When a payment that failed is tried again.")
    payment_attempts_at: list[datetime] = ApiField(
        description="When it is tried again for as long as it fails, from the next time on; after the last one access ends."
    )
    allowed_transitions: list[Transition] = ApiField(
        description="What may be done with it now.", examples=[["subscribe"]]
    )
    entitled: bool = ApiField(
        description="Whether the tenant may use the API now; false: routes that are not exempt answer 402."
    )
    livemode: bool = ApiField(description="False for a test tenant.")
    created_at: datetime = ApiField(description="When the tenant was created and its trial started.")
    updated_at: datetime = ApiField(description="Last change.")
    version: int = ApiField(description="Number of changes, starting at 1.")

    @property
    def variant(self) -> str:
        """For the ETag: `entitled` changes with the clock, without a new version."""
        return "entitled" if self.entitled else "ended"


class TrialExtension(Input):
    """A new end of a trial."""

    trial_ends_at: Timestamp = ApiField(
        description="Any instant in the future, later or earlier than the present end. An expired trial runs again."
    )


class Grant(Input):
    """Access free of charge."""

    plan: PlanCode
    until: Timestamp = ApiField(description="First instant without that access.")


class Purchase(Input):
    """A plan to buy."""

    plan: PlanCode
    payment_method: PaymentMethodId | None = ApiField(
        None,
        description="What to charge, now and later; null: the tenant's payment method, or an invoice to pay by hand.",
    )
    expected_amount_due: ExpectedAmount


class PlanChange(Input):
    """Another plan."""

    plan: PlanCode
    expected_amount_due: ExpectedAmount


class PlanChoice(Input):
    """A plan whose cost is asked for."""

    plan: PlanCode


class Cancellation(Input):
    """When the subscription is to end."""

    at: CancellationTime = ApiField(
        "period_end", description="`now`: access ends at once, and nothing is paid back.", examples=["period_end"]
    )


class Preview(BaseModel):
    """What a plan would cost now. Nothing is bought."""

    object: Literal["subscription_preview"] = "subscription_preview"
    plan: str = ApiField(description="The plan.", examples=["pro_monthly"])
    currency: str
    lines: list[InvoiceLine] = ApiField(description="What would be invoiced now.")
    taxes: list[InvoiceTax] = ApiField(description="Taxes on that.")
    credit: int = ApiField(description="What is taken off for the rest of the present plan.", examples=[1633])
    tax: int = ApiField(description="Sum of the taxes.", examples=[245])
    credit_applied: int = ApiField(description="What of it the tenant's credit would pay at once.", examples=[0])
    amount_due: int = ApiField(
        description="What would be to pay now: pass it as `expected_amount_due`.", examples=[5145]
    )
    effective_at: datetime | None = ApiField(description="When the plan would begin.")
    next_invoice_at: datetime | None = ApiField(description="When the next invoice would follow.")


def preview_of(plan: PlanTerms, quote: Quote | None, terms: Terms, now: datetime) -> Preview:
    """The preview of a purchase or a change; without a quote the change comes with the next period."""
    lines = [] if quote is None else [InvoiceLine.model_validate(line, from_attributes=True) for line in quote.lines]
    return Preview(
        plan=plan.code,
        currency=plan.currency,
        lines=lines,
        taxes=[] if quote is None else [InvoiceTax.model_validate(tax, from_attributes=True) for tax in quote.taxes],
        credit=-sum(line.amount for line in lines if line.kind == "credit"),
        tax=0 if quote is None else quote.tax,
        credit_applied=0 if quote is None else quote.credit_applied,
        amount_due=0 if quote is None else quote.amount_due,
        effective_at=terms.current_period_end if quote is None else now,
        next_invoice_at=terms.current_period_end,
    )
