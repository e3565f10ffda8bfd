"""Deliveries, attempts and test deliveries as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, StringConstraints
from pydantic import Field as ApiField

from shared.api import Input, ListQuery
from shared.fields.text import REFERENCE_CHARS_MAX, refuse_control_characters
from shared.ids import EndpointId, EventId, JobId, LocationId
from shared.timestamps import Timestamp
from webhooks.deliveries.rules import Failure
from webhooks.endpoints import PATTERN_LENGTH_MAX
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
    job_id: str | None = ApiField(description="The job of the event; null if the event is no longer stored.")
    job_reference: str | None = ApiField(description="The job's `reference_id` after the event; null if it has none.")
    merchant_id: str | None = ApiField(description="The job's merchant; null if it has none.")
    location_ids: list[str] = ApiField(description="Locations of the event: two if the job has moved.")
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


class DeliveryConditions(Input):
    """What deliveries are asked for by, besides endpoint and time; null: all. A delivery must match all conditions."""

    job_id: Annotated[JobId | None, ApiField(description="Only of events of this job.")] = None
    job_reference: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=REFERENCE_CHARS_MAX)] | None,
        BeforeValidator(refuse_control_characters),
        ApiField(
            description="Only of events after which their job had exactly this `reference_id`.", examples=["C-1001"]
        ),
    ] = None
    event_id: Annotated[EventId | None, ApiField(description="Only of this event.")] = None
    event_type: Annotated[
        str | None, ApiField(max_length=PATTERN_LENGTH_MAX, description="Only of this event type, such as job.created.")
    ] = None
    status: Annotated[DeliveryStatus | None, ApiField(description="Only with this status.")] = None
    cause: Annotated[Cause | None, ApiField(description="Only those whose last attempt failed because of this.")] = None
    response_class: Annotated[
        ResponseClass | None, ApiField(description="Only those whose last response has a status of this class.")
    ] = None
    response_status: Annotated[
        int | None, ApiField(ge=100, le=599, description="Only those whose last response has this status.")
    ] = None
    location_id: Annotated[LocationId | None, ApiField(description="Only of events of this location.")] = None


class DeliveryFilters(ListQuery, DeliveryConditions):
    """Which deliveries a list contains."""

    endpoint_id: Annotated[EndpointId | None, ApiField(description="Only to this endpoint.")] = None
    created_from: Annotated[Timestamp | None, ApiField(description="Only of events at or after this instant.")] = None
    created_before: Annotated[Timestamp | None, ApiField(description="Only of events before this instant.")] = None


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


class SentRequest(BaseModel):
    """The request of the last attempt, byte for byte except what is hidden: signatures and the values of custom headers."""

    object: Literal["delivery_request"] = "delivery_request"
    method: Literal["POST"] = "POST"
    url: str
    headers: dict[str, str] = ApiField(
        description="In the order in which they were sent. `[hidden]` stands for signatures and for the values of custom headers."
    )
    body: str = ApiField(description="The signed body: the same characters in every attempt.")
    body_bytes: int = ApiField(description="Bytes of the body in UTF-8.")
    is_exact: bool = ApiField(
        description="False if the endpoint has changed since the last attempt: URL and custom headers are those of now."
    )


class DeliveryDetail(Delivery):
    """A delivery with its attempts."""

    request: SentRequest | None = ApiField(
        description="The request of the last attempt; null before the first one, if its event is no longer stored, or if the endpoint's "
        "URL is not allowed any more."
    )

    attempts: list[Attempt] = ApiField(description="The last 200 attempts, oldest first.")


class EndpointTestResult(BaseModel):
    """The result of a test event, which is sent at once, not stored and not retried."""

    object: Literal["webhook_endpoint_test"] = "webhook_endpoint_test"
    endpoint_id: str
    event_id: str = ApiField(description="Sent as `webhook-id`.")
    event_type: str
    attempt: Attempt
