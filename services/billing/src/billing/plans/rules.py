"""What a plan is.

A version of a plan that was loaded never changes, so what somebody has bought stays what it was: another price is another version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from billing.periods import Interval
from shared.errors import Invalid, NotFound, Violation


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


class Place(NamedTuple):
    """Where a tenant is taxed."""

    country: str
    region: str = ""
    """Empty: it is not known."""


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A tax on invoices to one place."""

    name: str
    rate_ppm: int
    """Millionths of the amount before taxes: 50,000 is 5 %."""


class PlanChanged(Exception):
    """The file says something else of a version that was loaded before."""


class RegionUnknown(Invalid):
    """Taxes of this country differ by region, and it has no such region."""

    code = "region_unknown"

    def __init__(self, country: str, regions: Sequence[str]):
        expected = f"must be one of {', '.join(regions)}, or null"
        super().__init__(f"{country} has no such region", Violation("/region", self.code, expected))


class PlanNotFound(NotFound):
    """No such plan is sold."""

    code = "plan_not_found"

    def __init__(self, plan: str):
        super().__init__(f"no plan {plan!r} is on sale: see GET /v1/billing/plans")


def check_unchanged(ref: PlanRef, entry: Mapping[str, Any], loaded: Mapping[str, Any]) -> None:
    """Raises `PlanChanged` when the file says of a loaded version anything else, but whether it is withdrawn."""
    for name, value in entry.items():
        if name != "withdrawn" and loaded[name] != value:
            raise PlanChanged(
                f"{ref.code} version {ref.version}: {name} is {loaded[name]!r}, the file says {value!r}."
                " A loaded version never changes: add another version."
            )
