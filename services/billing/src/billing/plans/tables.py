"""The tables of plans and of taxes."""

from typing import Any

from sqlalchemy import CheckConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from billing.periods import Interval
from billing.registry import Base
from shared.postgres.column_types import BigInt, Choice, Instant, Json, Text


class PlanRow(Base, table=True):
    """One version of a plan. It never changes, but for being withdrawn."""

    __tablename__ = "plans"
    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("interval IN ('month', 'year')", name="interval"),
    )

    code: Text = Field(primary_key=True)
    version: int = Field(primary_key=True)
    names: Json
    interval: Choice[Interval]
    currency: Text
    amount: BigInt
    features: Json
    keeps_trial: bool
    withdrawn: bool
    created_at: Instant


class TaxRateRow(Base, table=True):
    """The taxes on invoices to a region of a country, or to the rest of it, in the order in which invoices list them."""

    __tablename__ = "tax_rates"

    country: Text = Field(primary_key=True)
    region: Text = Field("", primary_key=True, sa_column_kwargs={"server_default": text("''")})
    """As ISO 3166-2 has it behind the hyphen: QC. Empty: wherever no other row says more."""
    rates: list[dict[str, Any]] = Field(sa_type=JSONB)
