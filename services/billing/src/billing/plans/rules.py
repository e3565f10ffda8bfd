"""What a plan is, and how the file of plans is read.

A version of a plan that was loaded never changes, so what somebody has bought stays what it was: another price is another version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from billing.money import AMOUNT_MAX
from billing.periods import Interval
from shared.errors import NotFound

TAX_PPM_MAX = 1_000_000


class PlanRef(NamedTuple):
    """One version of a plan."""

    code: str
    version: int


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What a version of a plan costs and includes."""

    code: str
    version: int
    interval: Interval
    currency: str
    amount: int
    """For one interval, before taxes, in the minor unit of the currency."""
    keeps_trial: bool = False
    """Whether who buys it during the trial keeps what is left of it: the first period ends so much later."""
    features: Mapping[str, bool | int] | None = None
    names: Mapping[str, str] | None = None

    @property
    def ref(self) -> PlanRef:
        return PlanRef(self.code, self.version)

    @property
    def yearly_amount(self) -> int:
        """For comparing plans."""
        return self.amount * (12 if self.interval == "month" else 1)


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A tax on invoices to one country."""

    name: str
    rate_ppm: int
    """Millionths of the amount before taxes: 50,000 is 5 %."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanEntry(_Strict):
    """One version of a plan in the file."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    version: int = Field(ge=1)
    names: dict[str, str] = Field(min_length=1)
    interval: Interval
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    amount: int = Field(ge=0, le=AMOUNT_MAX)
    features: dict[str, bool | int] = {}
    keeps_trial: bool = False
    withdrawn: bool = False


class TaxEntry(_Strict):
    """A tax of one country in the file."""

    country: str = Field(pattern=r"^[A-Z]{2}$")
    name: str = Field(min_length=1, max_length=60)
    rate_ppm: int = Field(ge=0, le=TAX_PPM_MAX)


class PlanFile(_Strict):
    """The file of plans. Raises `ValueError` when it cannot be."""

    plans: list[PlanEntry]
    taxes: list[TaxEntry] = []

    @field_validator("plans")
    @classmethod
    def _each_once(cls, plans: list[PlanEntry]) -> list[PlanEntry]:
        refs = [(plan.code, plan.version) for plan in plans]
        if len(set(refs)) < len(refs):
            raise ValueError("a version of a plan stands twice in the file")
        return plans


class PlanChanged(Exception):
    """The file says something else of a version that was loaded before."""


class PlanNotFound(NotFound):
    """No such plan is sold."""

    code = "plan_not_found"

    def __init__(self, plan: str):
        super().__init__(f"no plan {plan!r} is on sale: see GET /v1/billing/plans")


def check_unchanged(entry: PlanEntry, loaded: Mapping[str, Any]) -> None:
    """Raises `PlanChanged` when the file says of a loaded version anything else, but whether it is withdrawn."""
    for name, value in entry.model_dump(exclude={"withdrawn"}).items():
        if loaded[name] != value:
            raise PlanChanged(
                f"{entry.code} version {entry.version}: {name} is {loaded[name]!r}, the file says {value!r}."
                " A loaded version never changes: add another version."
            )
