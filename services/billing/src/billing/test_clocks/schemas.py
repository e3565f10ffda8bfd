"""Test clocks in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.test_clocks.rules import ClockStatus
from shared.api import Input
from shared.timestamps import Timestamp


class TestClock(BaseModel):
    """The clock of a test tenant."""

    object: Literal["test_clock"] = "test_clock"
    tenant_id: str
    status: ClockStatus = ApiField(
        description="`ready` when all that was due has been done and told, and every service goes by the new time.",
        examples=["ready"],
    )
    now: datetime = ApiField(description="What the clock shows; it goes on as time does.")
    target_at: datetime | None = ApiField(description="Where it was last moved to.")
    acknowledged_by: list[str] = ApiField(
        description="Replicas (`service/name`) that go by the new time; when it is `ready`, every replica that runs does.",
        examples=[["identity/a1", "jobs/b1", "jobs/b2", "webhooks/c1"]],
    )
    created_at: datetime
    updated_at: datetime
    version: int


class Advance(Input):
    """Where to move a test clock."""

    to: Timestamp = ApiField(description="Any instant after the clock's, by 800 days at most.")
