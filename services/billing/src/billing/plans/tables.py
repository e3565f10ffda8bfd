"""The tables of plans and of taxes."""

from typing import Any

from sqlalchemy import CheckConstraint
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
    """The taxes on invoices to a country, in the order in which invoices list them."""

    __tablename__ = "tax_rates"

    country: Text = Field(primary_key=True)
    rates: list[dict[str, Any]] = Field(sa_type=JSONB)
