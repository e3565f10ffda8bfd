"""Every service publishes on `access.usage.v1` (kept for a day), for identity: credentials that it has accepted, and their requests.

Key: the name of the service. There is no aggregate and no version: of two uses of a credential the later one counts, of two counts of one
process and hour the larger one, in any order.
"""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from shared.events import Event, State
from shared.ids import FailedRequestId, TenantId

TOPIC = "access.usage.v1"
SOURCE = "waybill/access"


class CredentialUse(State):
    credential_id: str
    """API Account ID (acct_…) or the id of an API key (key_…); never a key."""
    used_at: AwareDatetime
    """When the latest request with it was accepted."""
    former_key_used_at: AwareDatetime | None = None
    """When the latest request with its former key was accepted, during an overlap; null: not lately."""


class CredentialUses(State):
    uses: list[CredentialUse]


class CredentialUsed(Event):
    """A service accepted these credentials in requests since its last event."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    type: Literal["credential.used"] = "credential.used"
    data: CredentialUses


class RequestCountState(State):
    """The requests of one credential that one process has answered in an hour so far."""

    tenant_id: TenantId
    credential_id: str
    """API Account ID (acct_…) or the id of an API key (key_…); never a key."""
    subject_id: str | None
    """The merchant or user whose credential it is; null for a platform key."""
    livemode: bool
    hour: AwareDatetime
    """The beginning of the hour."""
    calls: int
    """All requests, whatever was answered."""
    errors: int
    """Those that were answered with a status of 400 or more."""


class FailedRequestState(State):
    """A request with a valid credential that was answered with a status of 400 or more. It has no body, query or address."""

    failed_request_id: FailedRequestId
    tenant_id: TenantId
    credential_id: str
    subject_id: str | None
    livemode: bool
    at: AwareDatetime
    """When it was answered."""
    method: str
    path: str
    """The path of the route, such as /v1/jobs/{job_id}; never the client's path."""
    status: int
    code: str | None
    """The code of the problem; null where none was sent, such as for a client that went away."""
    request_id: str
    milliseconds: float


class RequestsState(State):
    process_id: UUID
    """The process that counted: a new one with each start."""
    counts: list[RequestCountState]
    failed: list[FailedRequestState]


class RequestsLogged(Event):
    """A service answered these requests with credentials since its last event."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    type: Literal["requests.logged"] = "requests.logged"
    data: RequestsState


EVENTS: tuple[type[Event], ...] = (CredentialUsed, RequestsLogged)
