"""Creates and revokes API keys. Only their digests are stored."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import changes, rows, tenants, users
from identity.api_keys import rules
from identity.api_keys.queries import lock_children, lock_for_update, view
from identity.api_keys.schemas import ApiKeyIn, CreatedApiKey
from identity.api_keys.tables import ApiKeyRow
from shared import audit
from shared.access import permissions
from shared.access.credentials import Peppers, hint, new_api_key
from shared.audit import Actor
from shared.errors import Unauthenticated
from shared.events import identity as events
from shared.ids import new_id

PLATFORM_SCOPES = ("platform", *permissions.SECTIONS, "billing")
"""What a platform key may do."""


async def create(
    session: AsyncSession, actor: Actor, peppers: Peppers, body: ApiKeyIn, *, api_keys_max: int
) -> CreatedApiKey:
    """A key that narrows its owner's permissions; only this answer shows it. Raises `Forbidden`, `Invalid`, `LimitReached`."""
    user_id = rules.owner_of(actor.caller.subject_id)
    now = datetime.now(UTC)
    rules.check_expiry(body.expires_at, now)
    users.check_grantable(permissions.expand(body.scopes), actor.permissions)
    tenant = await tenants.lock_own(session, actor)
    rules.check_mode(body.livemode, test=tenant.test)
    parent = await _lock_parent(session, actor)
    expires_at = rules.expiry_of_child(body.expires_at, parent.expires_at) if parent else body.expires_at
    await rows.require_room(
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
    row.parent_id = parent.key_id if parent else None
    row.expires_at = expires_at
    session.add(row)
    _publish(session, events.CredentialIssued, row)
    audit.record(session, actor, "credential.issued", row.key_id, after=view(row))
    return CreatedApiKey(**view(row).model_dump(), api_key=key)


async def revoke(session: AsyncSession, actor: Actor, key_id: str) -> None:
    """End a user API key and the keys that it made, in every service. Repeating it changes nothing. Raises `NotFound`."""
    ending: Sequence[ApiKeyRow] = [await lock_for_update(session, actor, key_id)]
    while ending:
        for row in ending:
            if row.revoked_at is None:
                row.revoked_at = datetime.now(UTC)
                changes.publish_change(
                    session, actor, events.CredentialRevoked, row, subject=row.key_id, state=_state(row)
                )
        ending = await lock_children(session, [row.key_id for row in ending])


async def list_platform_keys(session: AsyncSession) -> Sequence[ApiKeyRow]:
    """All platform keys, the oldest first, with the revoked ones."""
    platform = select(ApiKeyRow).where(col(ApiKeyRow.kind) == "platform_key")
    return (await session.execute(platform.order_by(col(ApiKeyRow.created_at)))).scalars().all()


async def revoke_platform_key(session: AsyncSession, key_id: str) -> bool:
    """End a platform key, in every service; returns whether there is one with this id. Repeating it changes nothing."""
    platform = select(ApiKeyRow).where(col(ApiKeyRow.kind) == "platform_key", col(ApiKeyRow.key_id) == key_id)
    row = (await session.execute(platform.with_for_update(key_share=True))).scalar_one_or_none()
    if row is None:
        return False
    if row.revoked_at is None:
        row.revoked_at = row.updated_at = datetime.now(UTC)
        row.version += 1
        _publish(session, events.CredentialRevoked, row)
        audit.record_person(
            session,
            audit.NOWHERE,
            tenant_id=None,
            actor=(key_id, "operator", "command"),
            action="credential.revoked",
            target=key_id,
        )
    return True


async def redigest(session: AsyncSession, peppers: Peppers, key_id: str, key: str) -> bool:
    """Digest a key with the newest pepper; returns whether it was stored under an older one."""
    statement = select(ApiKeyRow).where(col(ApiKeyRow.key_id) == key_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    newest = peppers.current_version
    if row is None or row.revoked_at is not None or row.pepper_version >= newest:
        return False
    if not peppers.matches(key, row.digest, row.pepper_version):
        return False
    row.digest, row.pepper_version = peppers.digest(key), newest
    row.version += 1
    row.updated_at = datetime.now(UTC)
    _publish(session, events.CredentialIssued, row)
    if row.tenant_id is not None:
        audit.record_service(session, "credential.redigested", key_id, tenant_id=row.tenant_id)
    return True


async def _lock_parent(session: AsyncSession, actor: Actor) -> ApiKeyRow | None:
    """The key that the actor presented, locked: it is not revoked before its child is there to be revoked with it."""
    if actor.caller.via != "user_key" or actor.caller.credential_id is None:
        return None
    parent = await lock_for_update(session, actor, actor.caller.credential_id)
    if parent.revoked_at is not None:
        raise Unauthenticated("this API key was revoked", code="credential_revoked")
    return parent


def create_platform_key(
    session: AsyncSession, peppers: Peppers, *, name: str, livemode: bool, now: datetime
) -> tuple[str, str]:
    """A key for a platform operator: its id, and the key itself, which is not stored."""
    row, key = _new_key(
        peppers, kind="platform_key", name=name, scopes=list(PLATFORM_SCOPES), livemode=livemode, now=now
    )
    session.add(row)
    _publish(session, events.CredentialIssued, row)
    audit.record_person(
        session,
        audit.NOWHERE,
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
        parent_id=None,
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


def _publish(session: AsyncSession, event_type: type[events.KeyEvent], row: ApiKeyRow) -> None:
    changes.publish(session, event_type, row, subject=row.key_id, state=_state(row))


def _state(row: ApiKeyRow) -> events.CredentialState:
    return events.CredentialState(
        credential_id=row.key_id,
        kind=row.kind,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        name=row.name,
        scopes=row.scopes,
        active=row.revoked_at is None,
        livemode=row.livemode,
        expires_at=row.expires_at,
        digests=[events.DigestState(digest=row.digest, pepper_version=row.pepper_version)],
    )
