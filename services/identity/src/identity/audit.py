"""The audit trail: every change says who made it and from where, in the transaction of the change itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.models.audit import AuditEvent, AuditRow
from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.ids import new_id

_NOT_TOLD = {"object", "created_at", "updated_at", "version", "invitation_token", "invitation_expires_at", "api_key"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Author:
    """Who does something, with what right, and from where."""

    caller: Caller
    origin: Origin

    @property
    def id(self) -> str:
        """The person, merchant or key that an audit trail names."""
        return self.caller.actor

    @property
    def tenant_id(self) -> str:
        """The tenant that is acted in. Raises `BadRequest` when a platform key named none."""
        return self.caller.tenant_id

    @property
    def livemode(self) -> bool:
        return self.caller.livemode

    @property
    def permissions(self) -> frozenset[str]:
        return self.caller.permissions


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """Which part of the trail is asked for."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None


def record(
    session: AsyncSession,
    author: Author,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    tenant_id: str | None = None,
) -> None:
    """Note a deed of an authenticated caller; of `before` and `after` only what differs is kept."""
    caller = author.caller
    _add(
        session,
        author.origin,
        tenant_id=tenant_id or caller.tenant_id_or_none,
        actor=(author.id, caller.kind, caller.via),
        action=action,
        target=target,
        values=_differences(before, after),
    )


def record_person(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    action: str,
    target: str,
) -> None:
    """Note a deed of somebody who is not a caller yet (a log-in), or of an operator. `actor`: id, kind, and by what means."""
    _add(session, origin, tenant_id=tenant_id, actor=actor, action=action, target=target, values=(None, None))


async def find(session: AsyncSession, author: Author, filters: AuditFilters, paging: Paging) -> Page[AuditEvent]:
    """The tenant's trail, newest first."""
    statement = select(AuditRow).where(col(AuditRow.tenant_id) == author.tenant_id)
    if filters.actor is not None:
        statement = statement.where(col(AuditRow.actor) == filters.actor)
    if filters.action is not None:
        statement = statement.where(col(AuditRow.action) == filters.action)
    if filters.target is not None:
        statement = statement.where(col(AuditRow.target) == filters.target)
    if filters.created_at_gte is not None:
        statement = statement.where(col(AuditRow.created_at) >= filters.created_at_gte)
    if filters.created_at_lte is not None:
        statement = statement.where(col(AuditRow.created_at) <= filters.created_at_lte)
    order = (col(AuditRow.created_at), col(AuditRow.audit_id))
    named = (filters.actor, filters.action, filters.target, filters.created_at_gte, filters.created_at_lte)
    return await page(session, statement, paging, by=order, view=_view, filters=list(named))


def told(view: BaseModel) -> dict[str, Any]:
    """What the trail keeps of a record: its API view without the parts that say nothing about a change, or too much."""
    return view.model_dump(mode="json", exclude=_NOT_TOLD)


def _differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if before is None or after is None:
        return (dict(before) if before is not None else None), (dict(after) if after is not None else None)
    changed = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in changed}, {name: after[name] for name in changed}


def _add(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    action: str,
    target: str,
    values: tuple[dict[str, Any] | None, dict[str, Any] | None],
) -> None:
    actor_id, actor_kind, via = actor
    before, after = values
    session.add(
        AuditRow(
            audit_id=new_id("aud"),
            tenant_id=tenant_id,
            created_at=datetime.now(UTC),
            actor=actor_id,
            actor_kind=actor_kind,
            via=via,
            action=action,
            target=target,
            address=origin.address,
            request_id=origin.request_id,
            before=before,
            after=after,
        )
    )


def _view(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        id=row.audit_id,
        tenant_id=row.tenant_id,
        created_at=row.created_at,
        actor=row.actor,
        actor_kind=row.actor_kind,
        via=row.via,
        action=row.action,
        target=row.target,
        address=row.address,
        request_id=row.request_id,
        before=row.before,
        after=row.after,
    )
