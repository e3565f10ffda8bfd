"""Checkout sessions in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from billing.checkout.rules import CheckoutStatus


class CheckoutSession(BaseModel):
    """A page of the payment provider on which a person gives a payment method."""

    object: Literal["checkout_session"] = "checkout_session"
    id: str
    url: str | None = Field(
        description="The page; null when it has ended.", examples=["https://checkout.example.com/c/pay/cs_1"]
    )
    status: CheckoutStatus = Field(
        description="`completed`: the payment method is kept, and is charged from now on; `expired`: none was given."
    )
    payment_method_id: str | None = Field(
        description="The payment method that was given; null: none yet.", examples=["pm_01h455vb4pex5vsknk084sn02q"]
    )
    livemode: bool
    expires_at: datetime = Field(description="When the page is given up.")
    created_at: datetime
    updated_at: datetime
    version: int
