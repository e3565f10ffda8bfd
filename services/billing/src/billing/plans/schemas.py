"""Plans in the API."""

from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.periods import Interval


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
