"""Creates and revokes API keys. Only digests are kept."""

from datetime import UTC, datetime

from sqlalchemy import or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import actors, audit, tenants, users
from identity.actors import Actor
from identity.api_keys.queries import view, visible_rows
from identity.api_keys.schemas import ApiKeyIn, NewApiKey
from identity.api_keys.tables import ApiKeyRow
from shared.access import permissions
from shared.access.credentials import Peppers, hint, new_api_key
from shared.errors import Forbidden, Invalid, NotFound, Violation
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox

PLATFORM_SCOPES = ("platform", *permissions.SECTIONS, "billing")


async def create(
    session: AsyncSession, actor: Actor, peppers: Peppers, body: ApiKeyIn, *, api_keys_max: int
) -> NewApiKey:
    """A key that narrows its owner's permissions, shown this once. Raises `Forbidden`, `Invalid`, `LimitReached`."""
    user_id = actor.caller.subject_id
    if user_id is None:
        raise Forbidden("a user API key belongs to a user: create it in that user's session", code="user_required")
    now = datetime.now(UTC)
    if body.expires_at is not None and body.expires_at <= now:
        raise Invalid("the key would have expired", Violation("/expires_at", "in_the_past", "this instant has passed"))
    users.check_grantable(permissions.expand(body.scopes), actor.permissions)
    tenant = await tenants.lock_own(session, actor)
    if body.livemode is not None and body.livemode is tenant.test:
        message = "a tenant has keys of its own mode alone"
        raise Invalid(message, Violation("/livemode", "livemode_mismatch", message))
    await tenants.require_room(
        session,
        ApiKeyRow,
        col(ApiKeyRow.tenant_id) == actor.tenant_id,
        col(ApiKeyRow.revoked_at).is_(None),
        or_(col(ApiKeyRow.expires_at).is_(None), col(ApiKeyRow.expires_at) > now),
        maximum=api_keys_max,
    )
    row, key = _new_key(peppers, kind="user_key", name=body.name, scopes=body.scopes, livemode=not tenant.test, now=now)
    row.tenant_id = tenant.tenant_id
    row.user_id = user_id
    row.expires_at = body.expires_at
    session.add(row)
    _publish(session, facts.CredentialIssued, row)
    audit.record(session, actor, "credential.issued", row.key_id, after=audit.snapshot(view(row)))
    return NewApiKey(**view(row).model_dump(), api_key=key)


async def revoke(session: AsyncSession, actor: Actor, key_id: str) -> None:
    """End a user key everywhere and at once; repeating it changes nothing. Raises `NotFound`."""
    statement = visible_rows(actor).where(col(ApiKeyRow.key_id) == key_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no API key with this id", code="api_key_not_found")
    if row.revoked_at is None:
        now = datetime.now(UTC)
        row.revoked_at = now
        row.updated_at = now
        row.version += 1
        _publish(session, facts.CredentialRevoked, row)
        audit.record(session, actor, "credential.revoked", key_id)


def create_platform_key(
    session: AsyncSession, peppers: Peppers, *, name: str, livemode: bool, now: datetime
) -> tuple[str, str]:
    """A key for a platform operator: its id, and the key itself, shown this once."""
    row, key = _new_key(
        peppers, kind="platform_key", name=name, scopes=list(PLATFORM_SCOPES), livemode=livemode, now=now
    )
    session.add(row)
    _publish(session, facts.CredentialIssued, row)
    audit.record_person(
        session,
        actors.Origin(address="", request_id=""),
        tenant_id=None,
        actor=(row.key_id, "operator", "command"),
        action="credential.issued",
        target=row.key_id,
    )
    return row.key_id, key


def _new_key(
    peppers: Peppers, *, kind: str, name: str, scopes: list[str], livemode: bool, now: datetime
) -> tuple[ApiKeyRow, str]:
    key = new_api_key(livemode=livemode)
    row = ApiKeyRow(
        key_id=new_id("key"),
        version=1,
        kind=kind,
        tenant_id=None,
        user_id=None,
        name=name,
        scopes=sorted(set(scopes)),
        digest=peppers.digest(key),
        pepper_version=peppers.current_version,
        hint=hint(key),
        livemode=livemode,
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
        created_at=now,
        updated_at=now,
    )
    return row, key


def _publish(session: AsyncSession, fact: type[facts.KeyEvent], row: ApiKeyRow) -> None:
    state = facts.CredentialState(
        credential_id=row.key_id,
        kind=row.kind,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        name=row.name,
        scopes=row.scopes,
        active=row.revoked_at is None,
        livemode=row.livemode,
        expires_at=row.expires_at,
        digests=[facts.DigestState(digest=row.digest, pepper_version=row.pepper_version)],
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.key_id, sequence=row.version, data=state),
    )
