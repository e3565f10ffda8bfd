"""Plans in the API, and in the file that is loaded."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as ApiField

from billing.money import AMOUNT_MAX
from billing.periods import Interval
from shared.fields.money import Currency

TAX_PPM_MAX = 1_000_000


class Plan(BaseModel):
    """A plan that is on sale."""

    object: Literal["plan"] = "plan"
    plan: str = ApiField(description="What to name when it is bought.", examples=["starter_monthly"])
    version: int = ApiField(description="Version of its price and features; who has bought one keeps it.", examples=[1])
    names: dict[str, str] = ApiField(
        description="Its name by language (ISO 639-1).", examples=[{"en": "Starter", "fr": "Essentiel"}]
    )
    interval: Interval = ApiField(description="How long one payment lasts.", examples=["month"])
    amount: int = ApiField(
        description="Price of one interval before taxes, in the currency's minor unit.", examples=[4900]
    )
    currency: str
    features: dict[str, bool | int] = ApiField(
        description="What it includes: a feature that is on or off, or a limit.",
        examples=[{"webhook_endpoints": 5, "requests_per_second": 50}],
    )
    keeps_trial: bool = ApiField(
        description="Whether what is left of the trial is kept: the first period ends so much later.", examples=[True]
    )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanEntry(_Strict):
    """One version of a plan in the file."""

    code: str = ApiField(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    version: int = ApiField(ge=1)
    names: dict[str, str] = ApiField(min_length=1)
    interval: Interval
    currency: Currency
    amount: int = ApiField(ge=0, le=AMOUNT_MAX, strict=True)
    features: dict[str, bool | int] = {}
    keeps_trial: bool = False
    withdrawn: bool = False


class TaxEntry(_Strict):
    """A tax of one country, or of one of its regions, in the file."""

    country: str = ApiField(pattern=r"^[A-Z]{2}$")
    region: str = ApiField("", pattern=r"^([A-Z0-9]{1,3})?$")
    name: str = ApiField(min_length=1, max_length=60)
    rate_ppm: int = ApiField(ge=0, le=TAX_PPM_MAX)


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
