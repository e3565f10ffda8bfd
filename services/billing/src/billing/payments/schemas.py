"""Payment methods in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


class PaymentMethod(BaseModel):
    """A way to pay, as the payment provider keeps it."""

    object: Literal["payment_method"] = "payment_method"
    id: str = ApiField(description="Id of the payment method.", examples=["pm_01h455vb4pex5vsknk084sn02q"])
    tenant_id: str
    provider: str = ApiField(description="The payment provider that keeps it.", examples=["stripe"])
    label: str = ApiField(description="By which people know it again.", examples=["Visa •••• 4242"])
    is_default: bool = ApiField(description="Whether it is the one that is charged.", examples=[True])
    livemode: bool
    created_at: datetime
