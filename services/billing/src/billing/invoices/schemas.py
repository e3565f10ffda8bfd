"""Invoices in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.invoices.rules import InvoiceStatus, LineKind


class InvoiceLine(BaseModel):
    """One line of an invoice."""

    kind: LineKind = ApiField(description="`credit`: what is left of a plan that was changed.", examples=["plan"])
    plan: str = ApiField(description="The plan.", examples=["starter_monthly"])
    plan_version: int = ApiField(description="Version of the plan.", examples=[1])
    names: dict[str, str] = ApiField(description="Name of the plan by language.", examples=[{"en": "Starter"}])
    period_start: datetime = ApiField(description="From when it is paid for.")
    period_end: datetime = ApiField(description="First instant after that.")
    amount: int = ApiField(
        description="Before taxes, in the currency's minor unit; negative for a credit.", examples=[4900]
    )


class InvoiceTax(BaseModel):
    """A tax on the whole invoice."""

    name: str = ApiField(description="Name of the tax.", examples=["GST"])
    rate_ppm: int = ApiField(description="Rate in millionths: 50,000 is 5 %.", examples=[50000])
    amount: int = ApiField(description="In the currency's minor unit.", examples=[245])


class Party(BaseModel):
    """Who the invoice is to."""

    name: str = ApiField(description="Name of the tenant when it was invoiced.", examples=["Boreal Couriers"])
    country: str
    region: str | None = ApiField(None, description="Province or state, where it was known.", examples=["QC"])


class CreditNote(BaseModel):
    """What is not to be paid of an invoice."""

    id: str = ApiField(description="Id of the credit note.", examples=["crn_01h455vb4pex5vsknk084sn02q"])
    number: str = ApiField(description="Number of the credit note, without gaps.", examples=["CRN-0001"])
    amount: int = ApiField(description="In the currency's minor unit.", examples=[5145])
    reason: str = ApiField(description="Why.", examples=["canceled"])
    created_at: datetime


class Invoice(BaseModel):
    """An invoice. Once it has a number, only its status changes."""

    object: Literal["invoice"] = "invoice"
    id: str = ApiField(description="Id of the invoice.", examples=["inv_01h455vb4pex5vsknk084sn02q"])
    tenant_id: str
    number: str = ApiField(description="Number of the tenant's invoice, without gaps.", examples=["INV-0001"])
    status: InvoiceStatus = ApiField(description="`void`: a credit note took it back.", examples=["open"])
    currency: str
    customer: Party = ApiField(description="Who it is to, as of when it was invoiced.")
    lines: list[InvoiceLine] = ApiField(description="What it is for.")
    taxes: list[InvoiceTax] = ApiField(description="Taxes on the whole.")
    subtotal: int = ApiField(description="Before taxes, in the currency's minor unit.", examples=[4900])
    tax: int = ApiField(description="Sum of the taxes.", examples=[245])
    total: int = ApiField(description="What it comes to.", examples=[5145])
    credit_applied: int = ApiField(
        description="What of it was paid at once, by a credit that the tenant had.", examples=[0]
    )
    amount_due: int = ApiField(description="What is still to be paid.", examples=[5145])
    plan: str = ApiField(description="The plan.", examples=["starter_monthly"])
    period_start: datetime = ApiField(description="From when it is paid for.")
    period_end: datetime = ApiField(description="First instant after that.")
    due_at: datetime | None = ApiField(description="By when to pay by hand; null: the payment method is charged.")
    finalized_at: datetime = ApiField(description="Date of the invoice, by the tenant's clock.")
    settled_at: datetime | None = ApiField(description="When it was paid or became void.")
    credit_note: CreditNote | None = ApiField(description="The credit note that made it void.")
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int
