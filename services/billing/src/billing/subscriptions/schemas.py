"""Subscriptions in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.subscriptions.rules import Status
from shared.api import Input
from shared.timestamps import Timestamp


class Subscription(BaseModel):
    """A tenant's subscription. `entitled` is computed at the instant of the answer."""

    object: Literal["subscription"] = "subscription"
    id: str = ApiField(description="Id of the subscription.", examples=["sub_01h455vb4pex5vsknk084sn02q"])
    tenant_id: str = ApiField(description="The tenant: each has one.", examples=["ten_01h455vb4pex5vsknk084sn02q"])
    status: Status = ApiField(
        description="trialing, active and past_due entitle until `access_until`; the other statuses never do."
    )
    plan: str | None = ApiField(description="The subscribed plan; null while there is none.")
    trial_ends_at: datetime | None = ApiField(description="First instant after the trial; it stays when it has passed.")
    access_until: datetime | None = ApiField(description="First instant without access; null: access has no end.")
    current_period_end: datetime | None = ApiField(description="End of the paid period.")
    cancel_at_period_end: bool = ApiField(description="Whether the subscription ends with the current period.")
    entitled: bool = ApiField(
        description="Whether the tenant may use the API now; false: routes that are not exempt answer 402."
    )
    livemode: bool = ApiField(description="False for a test tenant.")
    created_at: datetime = ApiField(description="When the tenant was created and its trial started.")
    updated_at: datetime = ApiField(description="Last change.")
    version: int = ApiField(description="Number of changes, starting at 1.")

    @property
    def variant(self) -> str:
        """For the ETag: `entitled` changes with the clock, without a new version."""
        return "entitled" if self.entitled else "ended"


class TrialExtension(Input):
    """A new end of a trial."""

    trial_ends_at: Timestamp = ApiField(
        description="Any instant in the future, later or earlier than the present end. An expired trial runs again."
    )
