"""Endpoints, their secrets and statistics as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema
from pydantic import Field as ApiField
from pydantic_core import PydanticCustomError

from shared.api import Input, Secret
from shared.fields.merge_patch import Patch
from shared.fields.numbers import Flag, Integer, Number
from shared.ids import LocationId
from webhooks.endpoints.rules import EVERYTHING, is_pattern, matches_a_type, nearest_pattern
from webhooks.http_client import URL_LENGTH_MAX

EVENT_TYPES_MAX = 50
DisabledReason = Literal["requested", "gone", "failing"]
LOCATIONS_MAX = 1000
DESCRIPTION_LENGTH_MAX = 500
RETRIES_MAX = 50
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_TOTAL_MAX = 10 * 24 * 3600.0
"""Less than the time for which deliveries are kept, even with jitter."""
RATE_PER_SECOND_MIN = 0.01
RATE_PER_SECOND_MAX = 10_000.0
OVERLAP_SECONDS_MAX = 7 * 24 * 3600
OVERLAP_SECONDS_DEFAULT = 24 * 3600


def _check_pattern(value: object) -> object:
    if isinstance(value, str) and not is_pattern(value):
        raise PydanticCustomError(
            "event_type_form", "expected a type such as job.created, a prefix such as job.*, or *"
        )
    if isinstance(value, str) and not matches_a_type(value):
        nearest = nearest_pattern(value)
        raise PydanticCustomError(
            "event_type_unknown",
            "there are no such events{hint}; GET /v1/event-types lists all types",
            {"hint": f": did you mean {nearest}?" if nearest else ""},
        )
    return value


def _read_locations(value: object) -> object:
    """Turn `"*"` into None. Null itself is refused, so that nobody subscribes to all locations by mistake."""
    if value is None:
        raise PydanticCustomError("locations_missing", 'expected a list of location ids, or "*" for all')
    return None if value == EVERYTHING else value


def _check_total(seconds: list[float]) -> list[float]:
    if sum(seconds) > RETRY_SECONDS_TOTAL_MAX:
        raise PydanticCustomError(
            "schedule_too_long",
            "the delays may add up to {seconds} seconds at most",
            {"seconds": int(RETRY_SECONDS_TOTAL_MAX)},
        )
    return seconds


_ALL_OR_LIST = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": LOCATIONS_MAX},
        {"const": EVERYTHING},
    ],
    "description": 'Only events of these locations, or "*" for all.',
    "examples": [EVERYTHING, ["loc_01h455vb4pex5vsknk084sn02q"]],
}

EventTypePattern = Annotated[
    str,
    BeforeValidator(_check_pattern),
    WithJsonSchema({"type": "string", "maxLength": 100, "examples": ["job.created", "job.*", "*"]}),
]
EventTypes = Annotated[
    list[EventTypePattern],
    ApiField(min_length=1, max_length=EVENT_TYPES_MAX, description="Event types, prefixes (`job.*`), or `*` for all."),
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
Description = Annotated[str, ApiField(max_length=DESCRIPTION_LENGTH_MAX, description="A note for people.")]
Headers = Annotated[
    dict[str, str],
    ApiField(
        description="Headers that are sent with each request, 20 at most; encrypted in the database.",
        examples=[{"X-Source": "waybill"}],
    ),
]
HeadersPatch = Annotated[
    dict[str, str | None] | None, ApiField(description="Headers to set, or to remove with null. Null: all are removed.")
]
RetrySchedule = Annotated[
    Annotated[
        list[Annotated[Number, ApiField(ge=RETRY_SECONDS_MIN)]],
        ApiField(max_length=RETRIES_MAX),
        AfterValidator(_check_total),
    ]
    | None,
    ApiField(
        description="Seconds between the attempts of a delivery, each 1 or more, 864,000 (ten days) together; an empty list: one attempt. "
        "Null: the operator's schedule.",
        examples=[[5, 300, 1800]],
    ),
]
RateLimit = Annotated[
    Annotated[Number, ApiField(ge=RATE_PER_SECOND_MIN, le=RATE_PER_SECOND_MAX)] | None,
    ApiField(
        description="Requests per second at most, from each replica of the sender. Null: no limit.", examples=[50]
    ),
]
OrderedByJob = Annotated[
    Flag,
    ApiField(
        description="Whether the next event of a job waits until the one before is delivered or given up. Other jobs do not wait."
    ),
]
SignV1a = Annotated[
    Flag,
    ApiField(
        description="Whether requests are also signed with an Ed25519 key (`v1a`), so that a receiver can verify without a secret."
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
    enabled: Flag = True


class EndpointPatch(Patch):
    """Changes of an endpoint (JSON Merge Patch: fields that are left out stay, null removes a header or the description)."""

    url: Url = ""
    description: Description | None = None
    event_types: EventTypes = []
    location_ids: LocationsIn = None
    headers: HeadersPatch = None
    retry_schedule_seconds: RetrySchedule = None
    rate_limit_per_second: RateLimit = None
    ordered_by_job: OrderedByJob = False
    sign_v1a: SignV1a = False
    enabled: Flag = True


class Endpoint(BaseModel):
    """An endpoint. Values of custom headers are shown only to callers who may change them."""

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
    disabled_reason: DisabledReason | None = ApiField(
        description="`requested`; `gone` after the receiver responded 410; `failing` after too long without a success."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = ApiField(
        description="The first failure after the last success, written some seconds late. Null if there is none."
    )
    previous_secret_until: datetime | None = ApiField(
        description="Until then requests are also signed with the former secret. Null, or an instant of the past: they are not."
    )
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class EndpointCreated(Secret, Endpoint):
    """A new endpoint with its secret."""

    secret: str = ApiField(
        description="The secret that signs every request (Standard Webhooks): `whsec_…`. Your receiver verifies with it."
    )


class EndpointEnabled(Endpoint):
    """An endpoint that gets events again."""

    replay_id: str | None = ApiField(description="The replay of missed events, if `replay_missed` was set.")


class RotationIn(Input):
    """How a secret is replaced."""

    overlap_seconds: Integer = ApiField(
        OVERLAP_SECONDS_DEFAULT,
        ge=0,
        le=OVERLAP_SECONDS_MAX,
        description="For how long requests are signed with the old secret as well, until the receiver has changed over. "
        "0: not at all, for a secret that has leaked.",
    )


class EndpointSecret(Secret):
    """The secret that signs the requests to an endpoint."""

    object: Literal["webhook_endpoint_secret"] = "webhook_endpoint_secret"
    endpoint_id: str
    secret: str
    previous_secret_until: datetime | None = ApiField(
        description="Until then requests are also signed with the previous secret."
    )


class EndpointPublicKey(BaseModel):
    """The public key with which `v1a` signatures of an endpoint are verified."""

    object: Literal["webhook_endpoint_public_key"] = "webhook_endpoint_public_key"
    endpoint_id: str
    algorithm: Literal["ed25519"] = "ed25519"
    public_key: str = ApiField(description="`whpk_` and the raw key of 32 bytes in base64.")


class StatsBucket(BaseModel):
    """Deliveries of the events of one bucket of time."""

    starts_at: datetime
    deliveries: int
    delivered: int
    failed: int
    pending: int
    attempts: int = ApiField(description="Attempts of these deliveries.")
    causes: dict[str, int] = ApiField(
        description="Causes of the last attempts of deliveries that are not delivered, with their counts."
    )
    latency_ms_p50: int | None = ApiField(description="Median latency of the last attempts, in milliseconds.")
    latency_ms_p95: int | None
    is_partial: bool = ApiField(
        description="True if there are more deliveries than one request counts (200,000 in all buckets): the numbers cover a part of them."
    )


class EndpointStats(BaseModel):
    """Statistics of an endpoint."""

    object: Literal["webhook_endpoint_stats"] = "webhook_endpoint_stats"
    endpoint_id: str
    since: datetime
    until: datetime
    bucket_seconds: int
    waiting: int = ApiField(description="Deliveries that wait for an attempt now, counted up to 10,000.")
    oldest_due_seconds: float = ApiField(description="Seconds for which the oldest due delivery has been due.")
    failing_since: datetime | None
    buckets: list[StatsBucket] = ApiField(description="Buckets of time without gaps, oldest first.")
