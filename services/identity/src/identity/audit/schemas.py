"""Audit events in the API, and the filters of their list."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.api import shown_as

ServiceName = Literal["identity", "billing", "jobs", "webhooks"]
ActorKind = Literal["platform", "owner", "staff", "merchant", "operator", "service", "unknown"]
ActorVia = Literal[
    "session",
    "merchant_session",
    "user_key",
    "platform_key",
    "pair",
    "password",
    "invitation",
    "password_reset",
    "email_change",
    "refresh_token",
    "command",
    "service",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """Which audit events are asked for; None: any."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    service: str | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None


class AuditEvent(BaseModel):
    """Who did what to which record."""

    object: Literal["audit_event"] = "audit_event"
    id: str
    service: Annotated[str, shown_as(ServiceName)] = ApiField(description="The service in which it was done.")
    tenant_id: str | None
    created_at: datetime
    actor: str = ApiField(
        description="Id of the user, merchant or key; the service's name for what it does by itself; "
        "`unknown` in a log-in that was refused."
    )
    actor_kind: Annotated[str, shown_as(ActorKind)] = ApiField(description="What the actor is.")
    via: Annotated[str, shown_as(ActorVia)] = ApiField(
        description="What the actor presented; `pair`: API credentials; `command`: an operator's command."
    )
    credential_id: str | None = ApiField(
        description="API Account ID or id of the API key; null where none was presented."
    )
    action: str = ApiField(description="What was done, named like its event: merchant.updated.")
    target: str = ApiField(description="Id of the record.")
    address: str = ApiField(description="Network address of the request; empty without one.")
    request_id: str
    before: dict[str, Any] | None = ApiField(description="Former values of the fields that changed, without secrets.")
    after: dict[str, Any] | None = ApiField(description="New values of the fields that changed, without secrets.")
