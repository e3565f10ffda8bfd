"""Keys: a merchant's pair (sealed copy and digests), user keys and platform keys (digests alone)."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Select, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, domain, tenancy
from identity.audit import Author
from identity.models.credentials import ApiKey, ApiKeyIn, ApiKeyRow, NewApiKey
from identity.models.merchants import MerchantRow
from shared.access import permissions
from shared.access.credentials import Peppers, hint, new_api_key
from shared.api import Page, Paging, page
from shared.crypto.encryptor import Encryptor
from shared.errors import Forbidden, Invalid, NotFound, Violation
from shared.events import identity as facts
from shared.ids import new_id, to_uuid
from shared.messaging import outbox

PLATFORM_SCOPES = ("platform", *permissions.SECTIONS, "billing")

# Rows are locked in one order, so that two replicas that were told of the same credentials cannot deadlock.
_MARK_USED = """
    WITH locked AS MATERIALIZED (
        SELECT {key}, least(used_at, now()) AS used_at
        FROM {table} JOIN unnest(CAST(:ids AS uuid[]), CAST(:used_at AS timestamptz[])) AS use (id, used_at) ON {key} = id
        WHERE last_used_at IS NULL OR last_used_at < used_at
        ORDER BY {key} FOR NO KEY UPDATE OF {table}
    )
    UPDATE {table} SET last_used_at = greatest(last_used_at, used_at) FROM locked WHERE {table}.{key} = locked.{key}
"""
_MARK_USED_BY_PREFIX = {
    "acct": text(_MARK_USED.format(table="merchants", key="account_id")),
    "key": text(_MARK_USED.format(table="api_keys", key="key_id")),
}


@dataclass(frozen=True, slots=True)
class Locksmith:
    """What keys are made with: peppers for the digests, and the ring that seals the copies that can be revealed."""

    peppers: Peppers
    encryptor: Encryptor


def give_pair(row: MerchantRow, locksmith: Locksmith, now: datetime) -> None:
    """Give a merchant a new Auth Key; its Account ID is made once and stays. No former key works beside it."""
    row.account_id = row.account_id or new_id("acct")
    row.previous_key_digest = None
    row.previous_key_pepper_version = None
    row.previous_key_valid_until = None
    _put_key(row, locksmith, now)


def take_pair(row: MerchantRow) -> None:
    """End a pair: nobody can reveal its key again. The digest stays, so that its use is answered with the reason."""
    row.sealed_key = None
    row.previous_key_digest = None
    row.previous_key_pepper_version = None
    row.previous_key_valid_until = None


def rotate_pair(row: MerchantRow, locksmith: Locksmith, now: datetime, overlap_seconds: int) -> None:
    """Give a merchant a new Auth Key while the present one stays good for the overlap; one before it ends at once."""
    valid_until = domain.previous_key_until(now, overlap_seconds)
    row.previous_key_digest = row.key_digest if valid_until else None
    row.previous_key_pepper_version = row.key_pepper_version if valid_until else None
    row.previous_key_valid_until = valid_until
    _put_key(row, locksmith, now)


def open_key(row: MerchantRow, locksmith: Locksmith) -> str:
    """The Auth Key of a merchant that has API access."""
    assert row.sealed_key is not None
    assert row.account_id is not None
    return locksmith.encryptor.decrypt(row.sealed_key, associated_data=row.account_id).decode()


def pair_state(row: MerchantRow) -> facts.PairState | None:
    """The pair as events carry it: digests, never the key."""
    if row.account_id is None or row.key_digest is None or row.key_pepper_version is None:
        return None
    digests = [facts.DigestState(digest=row.key_digest, pepper_version=row.key_pepper_version)]
    if row.previous_key_digest is not None and row.previous_key_pepper_version is not None:
        previous = facts.DigestState(
            digest=row.previous_key_digest,
            pepper_version=row.previous_key_pepper_version,
            valid_until=row.previous_key_valid_until,
        )
        digests.append(previous)
    return facts.PairState(account_id=row.account_id, livemode=row.livemode, digests=digests)


async def create_user_key(
    session: AsyncSession, author: Author, peppers: Peppers, body: ApiKeyIn, *, api_keys_max: int
) -> NewApiKey:
    """A key that narrows its owner's permissions, shown this once. Raises `Forbidden`, `Invalid`, `LimitReached`."""
    user_id = author.caller.subject_id
    if user_id is None:
        raise Forbidden("a user API key belongs to a user: create it in that user's session", code="user_required")
    now = datetime.now(UTC)
    if body.expires_at is not None and body.expires_at <= now:
        raise Invalid("the key would have expired", Violation("/expires_at", "in_the_past", "this instant has passed"))
    domain.check_grantable(permissions.expand(body.scopes), author.permissions)
    tenant = await tenancy.locked(session, author)
    if body.livemode is not None and body.livemode is tenant.test:
        message = "a tenant has keys of its own mode alone"
        raise Invalid(message, Violation("/livemode", "livemode_mismatch", message))
    await tenancy.require_room(
        session,
        ApiKeyRow,
        col(ApiKeyRow.tenant_id) == author.tenant_id,
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
    audit.record(session, author, "credential.issued", row.key_id, after=audit.told(_view(row)))
    return NewApiKey(**_view(row).model_dump(), api_key=key)


async def find_user_keys(session: AsyncSession, author: Author, paging: Paging) -> Page[ApiKey]:
    """The tenant's user keys, newest first, revoked ones included."""
    order = (col(ApiKeyRow.created_at), col(ApiKeyRow.key_id))
    return await page(session, _user_keys(author), paging, by=order, view=_view)


async def revoke_user_key(session: AsyncSession, author: Author, key_id: str) -> None:
    """End a user key everywhere and at once; repeating it changes nothing. Raises `NotFound`."""
    statement = _user_keys(author).where(col(ApiKeyRow.key_id) == key_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no API key with this id", code="api_key_not_found")
    if row.revoked_at is None:
        now = datetime.now(UTC)
        row.revoked_at = now
        row.updated_at = now
        row.version += 1
        _publish(session, facts.CredentialRevoked, row)
        audit.record(session, author, "credential.revoked", key_id)


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
        audit.Origin(address="", request_id=""),
        tenant_id=None,
        actor=(row.key_id, "operator", "command"),
        action="credential.issued",
        target=row.key_id,
    )
    return row.key_id, key


async def mark_used(session: AsyncSession, used: Mapping[str, datetime]) -> None:
    """Keep when credentials (by Account ID, or a key's id) were last used; ids that nobody has are ignored.

    An instant never moves backwards, and one that another process's clock has ahead of ours is now. Nothing else of the row changes: a use
    is no change that anybody has to be told of.
    """
    for prefix, statement in _MARK_USED_BY_PREFIX.items():
        found = {}
        for credential_id, used_at in used.items():
            with suppress(ValueError):
                if credential_id.startswith(f"{prefix}_"):
                    found[to_uuid(credential_id)] = used_at
        if found:
            await session.execute(statement, {"ids": list(found), "used_at": list(found.values())})


def _put_key(row: MerchantRow, locksmith: Locksmith, now: datetime) -> None:
    assert row.account_id is not None
    key = new_api_key(livemode=row.livemode)
    row.sealed_key = locksmith.encryptor.encrypt(key.encode(), associated_data=row.account_id)
    row.key_hint = hint(key)
    row.key_digest = locksmith.peppers.digest(key)
    row.key_pepper_version = locksmith.peppers.current_version
    row.key_made_at = now


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


def _user_keys(author: Author) -> Select[ApiKeyRow]:
    statement = select(ApiKeyRow).where(col(ApiKeyRow.kind) == "user_key")
    return tenancy.visible(statement, author, ApiKeyRow.tenant_id, ApiKeyRow.livemode)


def _view(row: ApiKeyRow) -> ApiKey:
    assert row.tenant_id is not None
    assert row.user_id is not None
    return ApiKey(
        id=row.key_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        name=row.name,
        scopes=row.scopes,
        hint=row.hint,
        status="active" if row.revoked_at is None else "revoked",
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


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
