"""Every service publishes on `audit.events.v1` (kept for 14 days), for identity: who did what to which record.

Key: the id of the record, so that the audit events of one record keep their order. An audit event never changes, so it has no version.
"""

from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime

from shared.events import Event, State
from shared.ids import AuditEventId, TenantId

TOPIC = "audit.events.v1"
SOURCE = "waybill/audit"


class AuditState(State):
    """One action, without secrets and without personal data of customers."""

    audit_id: AuditEventId
    service: str
    """identity | billing | jobs | webhooks"""
    tenant_id: TenantId | None = None
    """Null: an action on the platform itself."""
    at: AwareDatetime
    actor: str
    """Id of the user, merchant or key; the service's name for what it does by itself; `unknown` in a log-in that was refused."""
    actor_kind: str
    """platform | owner | staff | merchant | operator | service | unknown"""
    via: str
    """What the actor presented: session | merchant_session | user_key | platform_key | pair | password | invitation | refresh_token |
    command | service | unknown"""
    credential_id: str | None = None
    """API Account ID (acct_…) or the id of an API key (key_…); null where none was presented."""
    address: str
    """Network address of the request; empty without one."""
    request_id: str
    """Empty without a request."""
    action: str
    """What was done, named like its event: merchant.updated."""
    target: str
    """Id of the record."""
    before: dict[str, Any] | None = None
    """Former values of the fields that changed."""
    after: dict[str, Any] | None = None
    """New values of the fields that changed."""


class AuditRecorded(Event):
    """Somebody did something that the audit trail of a tenant, or of the platform, contains."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    separate_shard: ClassVar[bool] = True
    type: Literal["audit.recorded"] = "audit.recorded"
    data: AuditState


EVENTS: tuple[type[Event], ...] = (AuditRecorded,)
