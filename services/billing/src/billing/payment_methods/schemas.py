"""Payment methods in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class PaymentMethod(BaseModel):
    """A way to pay, as the payment provider keeps it."""

    object: Literal["payment_method"] = "payment_method"
    id: str
    tenant_id: str
    provider: str = Field(description="The payment provider that keeps it.", examples=["stripe"])
    label: str = Field(description="By which people know it again.", examples=["Visa •••• 4242"])
    is_default: bool = Field(description="Whether it is the one that is charged.")
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int
