"""Typed, sortable ids: TypeID form (`job_01h…`) outside, `uuid` (version 7) in the database."""

import re
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated

import uuid_utils
from pydantic import AfterValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError
from typeid import base32

KNOWN_IDS_MAX = 20_000
_RANDOM_BITS = 80
"""Behind the time of a UUIDv7."""
_DIGITS = 26
_SUFFIX = "[0-7][0-9a-hjkmnp-tv-z]{25}"
"""26 digits of 5 bits have 130: the first digit has only 3. So each id has one spelling, in lower case."""
_FORM = re.compile(f"[a-z]+_{_SUFFIX}", re.ASCII)

KINDS = {
    "ten": "tenant",
    "usr": "user",
    "mer": "merchant",
    "loc": "location",
    "acct": "API account",
    "key": "API key",
    "ses": "session",
    "rev": "revocation",
    "aud": "audit event",
    "frq": "failed request",
    "sub": "subscription",
    "inv": "invoice",
    "crn": "credit note",
    "cha": "charge",
    "pm": "payment method",
    "chk": "checkout session",
    "job": "job",
    "act": "action",
    "imp": "import",
    "ivt": "invitation",
    "ep": "webhook endpoint",
    "dlv": "delivery",
    "att": "delivery attempt",
    "evt": "event",
    "rpl": "replay",
    "blk": "bulk command",
}


def new_id(prefix: str) -> str:
    """A new id of this kind. Ids that one process makes later sort later."""
    assert prefix in KINDS, prefix
    return f"{prefix}_{base32.encode(uuid_utils.uuid7().bytes)}"


def to_uuid(typed_id: str) -> uuid.UUID:
    """The `uuid` of a typed id. Raises `ValueError` when it is none."""
    if _FORM.fullmatch(typed_id) is None:
        raise ValueError(f"{typed_id!r} is not an id")
    return uuid.UUID(bytes=base32.decode(typed_id[-_DIGITS:]))


known_uuid: Callable[[str], uuid.UUID] = lru_cache(KNOWN_IDS_MAX)(to_uuid)
"""`to_uuid` with a cache, for ids that are converted again and again: tenants, merchants, locations."""


def from_uuid(prefix: str, value: uuid.UUID) -> str:
    """The typed id of a `uuid`."""
    return f"{prefix}_{base32.encode(value.bytes)}"


def first_id_at(instant: datetime) -> uuid.UUID:
    """The smallest `uuid` of an id that is made at this instant, to the millisecond: ids begin with their time (UUIDv7)."""
    return uuid.UUID(int=max(0, int(instant.timestamp() * 1000)) << _RANDOM_BITS)


def _validator(prefix: str) -> AfterValidator:
    kind, form = KINDS[prefix], re.compile(_pattern(prefix), re.ASCII)

    def check(value: str) -> str:
        if value.rpartition("_")[0] != prefix:
            raise PydanticCustomError(
                "id_kind", "expected the id of a {kind} ({prefix}_…)", {"kind": kind, "prefix": prefix}
            )
        if form.fullmatch(value) is None:
            raise PydanticCustomError("id_form", "not a well-formed {kind} id", {"kind": kind})
        return value

    return AfterValidator(check)


def _schema(prefix: str) -> WithJsonSchema:
    example = f"{prefix}_01h455vb4pex5vsknk084sn02q"
    return WithJsonSchema({"type": "string", "pattern": f"^{_pattern(prefix)}$", "examples": [example]})


def _pattern(prefix: str) -> str:
    return f"{prefix}_{_SUFFIX}"


_LENGTH = StringConstraints(max_length=40)

TenantId = Annotated[str, _LENGTH, _validator("ten"), _schema("ten")]
UserId = Annotated[str, _LENGTH, _validator("usr"), _schema("usr")]
MerchantId = Annotated[str, _LENGTH, _validator("mer"), _schema("mer")]
LocationId = Annotated[str, _LENGTH, _validator("loc"), _schema("loc")]
AccountId = Annotated[str, _LENGTH, _validator("acct"), _schema("acct")]
ApiKeyId = Annotated[str, _LENGTH, _validator("key"), _schema("key")]
InvoiceId = Annotated[str, _LENGTH, _validator("inv"), _schema("inv")]
CheckoutSessionId = Annotated[str, _LENGTH, _validator("chk"), _schema("chk")]
PaymentMethodId = Annotated[str, _LENGTH, _validator("pm"), _schema("pm")]
RevocationId = Annotated[str, _LENGTH, _validator("rev"), _schema("rev")]
JobId = Annotated[str, _LENGTH, _validator("job"), _schema("job")]
ActionId = Annotated[str, _LENGTH, _validator("act"), _schema("act")]
EventId = Annotated[str, _LENGTH, _validator("evt"), _schema("evt")]
ImportId = Annotated[str, _LENGTH, _validator("imp"), _schema("imp")]
EndpointId = Annotated[str, _LENGTH, _validator("ep"), _schema("ep")]
DeliveryId = Annotated[str, _LENGTH, _validator("dlv"), _schema("dlv")]
ReplayId = Annotated[str, _LENGTH, _validator("rpl"), _schema("rpl")]
BulkCommandId = Annotated[str, _LENGTH, _validator("blk"), _schema("blk")]
InvitationId = Annotated[str, _LENGTH, _validator("ivt"), _schema("ivt")]
SessionId = Annotated[str, _LENGTH, _validator("ses"), _schema("ses")]
AuditEventId = Annotated[str, _LENGTH, _validator("aud"), _schema("aud")]
FailedRequestId = Annotated[str, _LENGTH, _validator("frq"), _schema("frq")]
