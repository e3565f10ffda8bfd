"""Deliveries, attempts and test deliveries as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from webhooks.deliveries.rules import Failure
from webhooks.http_client import Cause, CauseDetail

DeliveryStatus = Literal["pending", "delivered", "failed"]
AttemptResult = Literal["delivered", "failed"]
ResponseClass = Literal["1xx", "2xx", "3xx", "4xx", "5xx"]

_CAUSE = (
    "Why it failed: no such name (`dns`), no connection (`connect`), no TLS (`tls`), a deadline (`timeout`), an address or URL that is not "
    "allowed (`blocked`), too large a head (`too_large`), a status that is not 2xx (`status`), no HTTP (`protocol`), a secret that "
    "cannot be decrypted (`secret_unreadable`)."
)
_CAUSE_DETAIL = (
    "Why there was no TLS connection, if `cause` is `tls`: the receiver's certificate has expired, is not valid yet, is for another name, "
    "is self-signed, has an issuer that is not known, or is refused for another reason; the receiver does not speak TLS, not TLS 1.2 or "
    "later, or broke the handshake off."
)


class Delivery(BaseModel):
    """One event for one endpoint."""

    object: Literal["delivery"] = "delivery"
    id: str
    endpoint_id: str
    event_id: str = ApiField(description="Sent as `webhook-id`, the same for each attempt.")
    event_type: str
    status: DeliveryStatus = ApiField(description="`pending` until it is delivered or given up.")
    attempts_made: int
    response_status: int | None = ApiField(
        description="HTTP status of the last attempt; null if there was no response."
    )
    cause: Cause | None = ApiField(description=f"Of the last attempt. {_CAUSE}")
    cause_detail: CauseDetail | None = ApiField(description=f"Of the last attempt. {_CAUSE_DETAIL}")
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None
    failure: Failure | None = ApiField(
        description="Why it was given up: exhausted, gone (410), endpoint_disabled, endpoint_deleted."
    )
    livemode: bool
    created_at: datetime
    updated_at: datetime


class DeliveryFilters(BaseModel):
    """What a list of deliveries shows; None: all."""

    endpoint_id: str | None = None
    job_id: str | None = None
    job_reference: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    status: DeliveryStatus | None = None
    cause: Cause | None = None
    response_class: ResponseClass | None = None
    location_id: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


class Attempt(BaseModel):
    """One request that was made for a delivery."""

    object: Literal["delivery_attempt"] = "delivery_attempt"
    number: int
    started_at: datetime
    latency_ms: int = ApiField(description="Milliseconds of the whole attempt.")
    dns_ms: int | None = ApiField(description="Milliseconds of the DNS look-up; null if the name was cached.")
    connect_ms: int | None = ApiField(description="Milliseconds to connect; null if an open connection was used.")
    tls_ms: int | None = ApiField(
        description="Milliseconds of the TLS handshake; null without TLS or if an open connection was used."
    )
    first_byte_ms: int | None = ApiField(description="Milliseconds from the request to the first byte of the response.")
    result: AttemptResult
    response_status: int | None
    cause: Cause | None = ApiField(description=_CAUSE)
    cause_detail: CauseDetail | None = ApiField(description=_CAUSE_DETAIL)
    response_body: str | None = ApiField(description="Beginning of the response body, 4,096 characters at most.")


class DeliveryDetail(Delivery):
    """A delivery with its attempts."""

    attempts: list[Attempt] = ApiField(description="The last 200 attempts, oldest first.")


class EndpointTestResult(BaseModel):
    """The result of a test event, which is sent at once, not stored and not retried."""

    object: Literal["webhook_endpoint_test"] = "webhook_endpoint_test"
    endpoint_id: str
    event_id: str = ApiField(description="Sent as `webhook-id`.")
    event_type: str
    attempt: Attempt
