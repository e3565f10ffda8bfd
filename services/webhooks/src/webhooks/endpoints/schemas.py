"""Endpoints, their keys and their statistics as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema
from pydantic import Field as ApiField
from pydantic_core import PydanticCustomError

from shared.api import Input, Secret
from shared.ids import LocationId
from webhooks.endpoints.rules import EVERYTHING, is_pattern
from webhooks.http_client import URL_LENGTH_MAX

EVENT_TYPES_MAX = 50
LOCATIONS_MAX = 1000
DESCRIPTION_LENGTH_MAX = 500
RETRIES_MAX = 50
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_TOTAL_MAX = 10 * 24 * 3600.0
"""With jitter still shorter than deliveries are kept."""
RATE_PER_SECOND_MIN = 0.01
RATE_PER_SECOND_MAX = 10_000.0
OVERLAP_SECONDS_MAX = 7 * 24 * 3600
OVERLAP_SECONDS_DEFAULT = 24 * 3600


def _check_pattern(value: object) -> object:
    if isinstance(value, str) and not is_pattern(value):
        raise PydanticCustomError(
            "event_type_form", "expected a type such as job.created, a prefix such as job.*, or *"
        )
    return value


def _read_locations(value: object) -> object:
    """`"*"` is None from here on; null itself is refused, so that nobody subscribes to everything by leaving something out."""
    if value is None:
        raise PydanticCustomError("locations_missing", 'expected a list of location ids, or "*" for all')
    return None if value == EVERYTHING else value


def _check_total(seconds: list[float]) -> list[float]:
    if sum(seconds) > RETRY_SECONDS_TOTAL_MAX:
        raise PydanticCustomError(
            "schedule_too_long",
            "retries may go on for {seconds} seconds in all",
            {"seconds": int(RETRY_SECONDS_TOTAL_MAX)},
        )
    return seconds


_ALL_OR_LIST = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": LOCATIONS_MAX},
        {"const": EVERYTHING},
    ],
    "description": 'Locations whose events are wanted, or "*" for all.',
    "examples": [EVERYTHING, ["loc_01h455vb4pex5vsknk084sn02q"]],
}

EventTypePattern = Annotated[
    str,
    BeforeValidator(_check_pattern),
    WithJsonSchema({"type": "string", "maxLength": 100, "examples": ["job.created", "job.*", "*"]}),
]
EventTypes = Annotated[
    list[EventTypePattern],
    ApiField(min_length=1, max_length=EVENT_TYPES_MAX, description="Types, prefixes (`job.*`), or `*` for everything."),
]
LocationsIn = Annotated[
    Annotated[list[LocationId], ApiField(min_length=1, max_length=LOCATIONS_MAX)] | None,
    BeforeValidator(_read_locations),
    WithJsonSchema(_ALL_OR_LIST),
]
Url = Annotated[
    str,
    ApiField(
        min_length=1,
        max_length=URL_LENGTH_MAX,
        description="Where to send: https, a public host, no credentials.",
        examples=["https://example.com/hooks"],
    ),
]
Description = Annotated[str, ApiField(max_length=DESCRIPTION_LENGTH_MAX, description="For people.")]
Headers = Annotated[
    dict[str, str],
    ApiField(
        description="Sent with each request, 20 at most; sealed in the database.", examples=[{"X-Source": "waybill"}]
    ),
]
HeadersPatch = Annotated[dict[str, str | None], ApiField(description="Headers to set, or to remove with null.")]
RetrySchedule = Annotated[
    Annotated[
        list[Annotated[float, ApiField(ge=RETRY_SECONDS_MIN)]],
        ApiField(max_length=RETRIES_MAX),
        AfterValidator(_check_total),
    ]
    | None,
    ApiField(
        description="Seconds between the attempts of a delivery, each 1 or more, 864,000 (ten days) in all; an empty list: one attempt. "
        "Null: as the operator has set it.",
        examples=[[5, 300, 1800]],
    ),
]
RateLimit = Annotated[
    Annotated[float, ApiField(ge=RATE_PER_SECOND_MIN, le=RATE_PER_SECOND_MAX)] | None,
    ApiField(
        description="Requests per second at most, from each replica of the sender. Null: no limit.", examples=[50]
    ),
]
OrderedByJob = Annotated[
    bool,
    ApiField(
        description="Whether the next event of a job waits until the one before was delivered or given up; other jobs go on."
    ),
]
SignV1a = Annotated[
    bool,
    ApiField(
        description="Whether requests are signed with an Ed25519 key as well (`v1a`), so that a receiver needs no secret to verify."
    ),
]


class EndpointIn(Input):
    """A new endpoint."""

    url: Url
    description: Description = ""
    event_types: EventTypes
    location_ids: LocationsIn
    headers: Headers = {}
    retry_schedule_seconds: RetrySchedule = None
    rate_limit_per_second: RateLimit = None
    ordered_by_job: OrderedByJob = False
    sign_v1a: SignV1a = False
    enabled: bool = True


class EndpointPatch(Input):
    """What of an endpoint shall change (JSON Merge Patch: what is left out stays, a header set to null goes)."""

    url: Url = ""
    description: Description = ""
    event_types: EventTypes = []
    location_ids: LocationsIn = None
    headers: HeadersPatch = {}
    retry_schedule_seconds: RetrySchedule = None
    rate_limit_per_second: RateLimit = None
    ordered_by_job: OrderedByJob = False
    sign_v1a: SignV1a = False
    enabled: bool = True


class Endpoint(BaseModel):
    """An endpoint; values of custom headers are shown to those alone who may change them."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    livemode: bool
    url: str
    description: str
    event_types: list[str]
    location_ids: list[str] | Literal["*"]
    headers: dict[str, str]
    retry_schedule_seconds: list[float] | None
    rate_limit_per_second: float | None
    ordered_by_job: bool
    sign_v1a: bool
    enabled: bool
    disabled_reason: str | None = ApiField(
        description="`requested`, `gone` when the receiver answered 410, `failing` when nothing had succeeded for too long."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = ApiField(
        description="The first failure after the last success; written some seconds late. Null while it goes well."
    )
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class EndpointCreated(Endpoint):
    """A new endpoint with its secret."""

    secret: str = ApiField(
        description="Signs every request (Standard Webhooks): `whsec_…`. Keep it where the receiver verifies."
    )


class EndpointEnabled(Endpoint):
    """An endpoint that hears of events again."""

    replay_id: str | None = ApiField(description="The replay of what was missed, where it was asked for.")


class RotationIn(Input):
    """How a secret is to be replaced."""

    overlap_seconds: Annotated[
        int,
        ApiField(
            ge=0,
            le=OVERLAP_SECONDS_MAX,
            description="How long requests are signed with the old secret as well: time for the receiver to change over. "
            "0: not at all, for a secret that has leaked.",
        ),
    ] = OVERLAP_SECONDS_DEFAULT


class EndpointSecret(Secret):
    """What signs the requests to an endpoint."""

    object: Literal["webhook_endpoint_secret"] = "webhook_endpoint_secret"
    endpoint_id: str
    secret: str
    previous_secret_until: datetime | None = ApiField(
        description="Until then requests are signed with the secret before this one as well."
    )


class EndpointPublicKey(BaseModel):
    """What `v1a` signatures of an endpoint's requests are verified with."""

    object: Literal["webhook_endpoint_public_key"] = "webhook_endpoint_public_key"
    endpoint_id: str
    algorithm: Literal["ed25519"] = "ed25519"
    public_key: str = ApiField(description="`whpk_…`: the raw key of 32 bytes in base64 after the prefix.")


class StatsBucket(BaseModel):
    """Deliveries of the events of one stretch of time."""

    starts_at: datetime
    deliveries: int
    delivered: int
    failed: int
    pending: int
    attempts: int = ApiField(description="Requests that were made for them.")
    causes: dict[str, int] = ApiField(description="Why the last attempts of those that are not delivered failed.")
    latency_ms_p50: int | None = ApiField(description="Of the last attempts, in milliseconds.")
    latency_ms_p95: int | None
    is_partial: bool = ApiField(
        description="More deliveries than one request counts (200,000, shared by all buckets): the figures are those of so many of them."
    )


class EndpointStats(BaseModel):
    """How an endpoint is doing."""

    object: Literal["webhook_endpoint_stats"] = "webhook_endpoint_stats"
    endpoint_id: str
    since: datetime
    until: datetime
    bucket_seconds: int
    waiting: int = ApiField(description="Deliveries that wait for an attempt at this moment, counted up to 10,000.")
    oldest_due_seconds: float = ApiField(description="For how long the one that is due for longest has been due.")
    failing_since: datetime | None
    buckets: list[StatsBucket] = ApiField(description="Without gaps, oldest first.")
