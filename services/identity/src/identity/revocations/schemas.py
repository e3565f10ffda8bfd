"""Revocations in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity.audit import ServiceName
from identity.revocations.rules import ReplicaState
from shared.api import shown_as

_MILLISECONDS = "Milliseconds from `revoked_at` until it refused, by its own clock"


class ReplicaReceipt(BaseModel):
    """What is known of one replica of a service."""

    replica: str = ApiField(description="The name of the replica.", examples=["jobs-1"])
    state: ReplicaState = ApiField(
        description="`applied`: it refuses; `missing`: it has not said so yet; `stopped`: it ended before it said so."
    )
    applied_after_ms: int | None = ApiField(
        description=f"{_MILLISECONDS}; null: it has not said that it does.", examples=[41]
    )
    last_heard_at: datetime = ApiField(description="When it last reported that it runs; it does so every ten seconds.")


class ServiceReceipt(BaseModel):
    """What is known of one service."""

    service: Annotated[str, shown_as(ServiceName)] = ApiField(description="The service.")
    complete: bool = ApiField(description="Whether every replica that ran at the revocation refuses.")
    applied_after_ms: int | None = ApiField(
        description=f"{_MILLISECONDS}, of its last replica; null: it is not complete.", examples=[41]
    )
    replicas: list[ReplicaReceipt] = ApiField(description="Its replicas, by their names.")


class RevocationLag(BaseModel):
    """How long the latest revocations of a tenant took until every service refused."""

    object: Literal["revocation_lag"] = "revocation_lag"
    revocations: int = ApiField(description="Revocations of the last day, the latest 20 at most.", examples=[3])
    incomplete: int = ApiField(description="Those of them that are not complete.", examples=[0])
    applied_after_ms_max: int | None = ApiField(
        description=f"{_MILLISECONDS}, of the slowest of those that are complete; null: there is none.", examples=[57]
    )


class Revocation(BaseModel):
    """A change that ended access, and since when each service refuses."""

    object: Literal["revocation"] = "revocation"
    id: str
    tenant_id: str | None
    action: str = ApiField(description="What was done, named like its event.", examples=["api_access.revoked"])
    target: str
    revoked_at: datetime = ApiField(description="When it was written, right before its commit.")
    complete: bool = ApiField(description="Whether every service is complete.")
    applied_after_ms: int | None = ApiField(
        description=f"{_MILLISECONDS}, of the last replica of all; null: it is not complete.", examples=[57]
    )
    services: list[ServiceReceipt] = ApiField(description="The four services.")
