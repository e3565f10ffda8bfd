"""Creates and updates merchants, grants and revokes their API access, and issues their API credentials.

Only active merchants of level 2 have API access. Leaving level 2 or being disabled ends it in the same transaction; coming back does
not restore it. A merchant and its API credentials are one aggregate: each event about either raises its version by one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import update as update_rows
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import changes, locations, logins, rows, sessions, tenants
from identity.logins import Passwords
from identity.mail import MailAnswers
from identity.merchants import queries, rules
from identity.merchants.queries import index, lock_for_update, require_free_reference_id, state, view
from identity.merchants.schemas import ChangedMerchant, CreatedMerchant, Merchant, MerchantIn, MerchantPatch
from identity.merchants.tables import MerchantRow
from identity.tenants import RevealMode
from shared import audit
from shared.access.credentials import Peppers, hint, new_api_key
from shared.api import IfMatch
from shared.audit import Actor
from shared.crypto.encryptor import Encryptor
from shared.events import identity as events
from shared.fields.merge_patch import METADATA, patch_member
from shared.fields.places import ADDRESS
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class CredentialIssuer:
    """What Auth Keys are issued with: peppers for their digests, and the encryptor of the copies that merchants can reveal."""

    peppers: Peppers
    encryptor: Encryptor


async def create(
    session: AsyncSession,
    actor: Actor,
    passwords: Passwords,
    issuer: CredentialIssuer,
    body: MerchantIn,
    *,
    merchants_max: int,
) -> CreatedMerchant:
    """A new merchant, with API access when the body asks for it.

    Raises `Invalid` (level 1 with API access, unknown locations), `Forbidden`, `AlreadyExists`, `LimitReached`.
    """
    rules.check_level_in_body(body.level, body.api_access)
    if body.api_access:
        rules.check_permission(rules.API_ACCESS_PERMISSION, actor.permissions)
    password_hash = await logins.hash_if_given(passwords, body.password)
    tenant = await tenants.lock_own(session, actor)
    await _check_locations(
        session, tenant.tenant_id, body.location_ids, body.default_location_id, added=set(body.location_ids)
    )
    await rows.require_room(session, MerchantRow, col(MerchantRow.tenant_id) == actor.tenant_id, maximum=merchants_max)
    await require_free_reference_id(session, tenant.tenant_id, body.reference_id, None)
    now = datetime.now(UTC)
    row = queries.new_row(tenant, body, now)
    session.add(row)
    invitation = await logins.create(
        session,
        tenant_id=tenant.tenant_id,
        email=body.login_email,
        subject_id=row.merchant_id,
        kind="merchant",
        password_hash=password_hash,
        invited_by=actor.id,
        now=now,
    )
    invitation = await logins.mail_invitation(session, invitation, queries.recipient(row), "merchant")
    granted = _set_api_access(row, body.api_access, issuer, now, tenant.reveal)
    index(row)
    event_types: list[type[events.MerchantEvent]] = [events.MerchantCreated, *granted]
    for version, event_type in enumerate(event_types, start=1):
        row.version = version
        changes.publish(session, event_type, row, subject=row.merchant_id, state=state(row))
        audit.record(session, actor, event_type.type_name(), row.merchant_id, after=view(row))
    return CreatedMerchant(
        **view(row).model_dump(),
        **invitation.shown,
    )


async def update(
    session: AsyncSession,
    actor: Actor,
    issuer: CredentialIssuer,
    merchant_id: str,
    if_match: IfMatch,
    patch: MerchantPatch,
) -> ChangedMerchant:
    """Change the given fields; level and API access follow `rules.update_access`.

    Raises `NotFound`, `PreconditionFailed`, `Forbidden`, `Invalid`, `AlreadyExists`, `MerchantDisabled`.
    """
    if patch.api_access is not None:
        rules.check_permission(rules.API_ACCESS_PERMISSION, actor.permissions)
    tenant = await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, merchant_id, if_match)
    access = rules.update_access(_access_state(row), level=patch.level, api_access=patch.api_access)
    if row.api_access and (not access.api_access or patch.login_email is not None):
        # The level must not end, nor the address hand over, what the toggle may not.
        rules.check_permission(rules.API_ACCESS_PERMISSION, actor.permissions)
    before = view(row)
    change = await _update_fields(session, row, patch)
    if change.pending is not None:
        audit.record(session, actor, "email_change.requested", merchant_id, after={"email": change.pending})
    event_types: list[type[events.MerchantEvent]] = []
    if access.level != row.level:
        row.level = access.level
        event_types.append(events.MerchantLevelChanged)
    elif view(row) != before:
        event_types.append(events.MerchantUpdated)
    event_types += _set_api_access(row, access.api_access, issuer, datetime.now(UTC), tenant.reveal)
    _publish_changes(session, actor, event_types, row, before)
    return ChangedMerchant(
        **view(row).model_dump(),
        **change.shown,
    )


async def disable(session: AsyncSession, actor: Actor, merchant_id: str) -> Merchant:
    """Refuse a merchant: its sessions and its API access end. Repeating it changes nothing. Raises `NotFound`, `Forbidden`."""
    row = await lock_for_update(session, actor, merchant_id)
    if row.api_access:
        rules.check_permission(rules.API_ACCESS_PERMISSION, actor.permissions)
    if row.status == "active":
        before = view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = sessions.next_valid_from(now, row.sessions_valid_from)
        await sessions.end_all(session, merchant_id, now)
        event_types: list[type[events.MerchantEvent]] = [events.MerchantDisabled]
        if row.api_access:
            event_types.append(_end_api_access(row))
        _publish_changes(session, actor, event_types, row, before)
    return view(row)


async def enable(session: AsyncSession, actor: Actor, merchant_id: str) -> Merchant:
    """Enable a disabled merchant, without API access. Repeating it changes nothing.

    Raises `NotFound`, and `LocationNeeded` when none of its locations is active any more.
    """
    tenant = await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, merchant_id)
    if row.status == "disabled":
        active_by_id = await locations.active_by_id(session, tenant.tenant_id, row.location_ids)
        locations.check_one_active(active_by_id, row.location_ids)
        before = view(row)
        row.status = "active"
        _publish_changes(session, actor, [events.MerchantEnabled], row, before)
    return view(row)


async def grant_api_access(session: AsyncSession, actor: Actor, issuer: CredentialIssuer, merchant_id: str) -> Merchant:
    """Give a merchant API access and a new Auth Key. Repeating it changes nothing.

    Raises `NotFound`, `MerchantLevelRequired`, `MerchantDisabled`.
    """
    mode = await tenants.lock_reveal_mode(session, actor.tenant_id)
    row = await lock_for_update(session, actor, merchant_id)
    if not row.api_access:
        access = rules.grant(_access_state(row))
        before = view(row)
        event_types = _set_api_access(row, access.api_access, issuer, datetime.now(UTC), mode)
        _publish_changes(session, actor, event_types, row, before)
    return view(row)


async def revoke_api_access(session: AsyncSession, actor: Actor, merchant_id: str) -> None:
    """End a merchant's API access, in every service. Repeating it changes nothing. Raises `NotFound`."""
    _revoke_api_access(session, actor, await lock_for_update(session, actor, merchant_id))


async def revoke_api_access_by_account(session: AsyncSession, actor: Actor, account_id: str) -> None:
    """End the API access of the merchant that has this API Account ID. Repeating it changes nothing. Raises `NotFound`."""
    _revoke_api_access(session, actor, await queries.lock_by_account(session, actor, account_id))


def rotate_credentials(
    row: MerchantRow, issuer: CredentialIssuer, now: datetime, overlap_seconds: int, mode: RevealMode
) -> str:
    """Give a merchant a new Auth Key and return it. The present key stays valid for the overlap, the one before it ends at once."""
    valid_until = rules.previous_key_until(now, overlap_seconds)
    row.previous_key_digest = row.key_digest if valid_until else None
    row.previous_key_pepper_version = row.key_pepper_version if valid_until else None
    row.previous_key_valid_until = valid_until
    row.previous_key_used_at = None
    return _set_new_key(row, issuer, now, stored=rules.stores_new_key(mode, shown=True))


async def note_mail(session: AsyncSession, answers: MailAnswers) -> None:
    """Note what mail servers answered, where that is news."""
    for row in await queries.lock_for_mail(session, answers):
        before = view(row)
        row.email_refusal = answers[row.merchant_id, row.login_email]
        row.email_refused_at = datetime.now(UTC) if row.email_refusal else None
        changes.publish_own_change(
            session,
            events.MerchantUpdated,
            row,
            subject=row.merchant_id,
            state=state(row),
            before=before,
            after=view(row),
        )


def reveal_key(row: MerchantRow, issuer: CredentialIssuer, mode: RevealMode) -> str:
    """The Auth Key of a merchant that has API access; with `once` its stored copy goes. Raises `Forbidden`, `KeyNotStored`."""
    rules.check_revealable(mode, stored=row.sealed_key is not None)
    assert row.sealed_key is not None
    assert row.account_id is not None
    key = issuer.encryptor.decrypt(row.sealed_key, associated_data=row.account_id).decode()
    if mode == "once":
        row.sealed_key = None
    return key


async def shred_keys(session: AsyncSession, tenant_id: str) -> int:
    """Delete the stored copies of all Auth Keys of a tenant that the caller has locked; returns how many. The keys stay valid."""
    stored = update_rows(MerchantRow).where(
        col(MerchantRow.tenant_id) == tenant_id, col(MerchantRow.sealed_key).is_not(None)
    )
    # The merchant's version stays: nothing that anybody is told has changed.
    shredded = await session.execute(stored.values(sealed_key=None).returning(col(MerchantRow.merchant_id)))
    return len(shredded.all())


def publish_change(
    session: AsyncSession,
    actor: Actor,
    event_type: type[events.MerchantEvent],
    row: MerchantRow,
    before: Merchant | None = None,
    after: Merchant | None = None,
) -> None:
    """Raise the merchant's version, publish the event with its whole state, and write the audit event."""
    index(row)
    changes.publish_change(
        session, actor, event_type, row, subject=row.merchant_id, state=state(row), before=before, after=after
    )


def _publish_changes(
    session: AsyncSession,
    actor: Actor,
    event_types: list[type[events.MerchantEvent]],
    row: MerchantRow,
    before: Merchant,
) -> None:
    """Each event has its own version, so that no consumer takes the second for a repeat of the first."""
    for event_type in event_types:
        publish_change(session, actor, event_type, row, before, view(row))


def _revoke_api_access(session: AsyncSession, actor: Actor, row: MerchantRow) -> None:
    if row.api_access:
        before = view(row)
        _publish_changes(session, actor, [_end_api_access(row)], row, before)


def _set_api_access(
    row: MerchantRow, api_access: bool, issuer: CredentialIssuer, now: datetime, mode: RevealMode
) -> list[type[events.MerchantEvent]]:
    """Grant or end API access where it differs; returns the types of the events to publish."""
    if api_access == row.api_access:
        return []
    if not api_access:
        return [_end_api_access(row)]
    row.api_access = True
    _issue_credentials(row, issuer, now, mode)
    return [events.ApiAccessGranted]


def _end_api_access(row: MerchantRow) -> type[events.MerchantEvent]:
    """End access and delete the encrypted key. Its digest stays, so that a use of the key is answered with the reason."""
    row.api_access = False
    row.sealed_key = None
    end_overlap(row)
    return events.ApiAccessRevoked


def _issue_credentials(row: MerchantRow, issuer: CredentialIssuer, now: datetime, mode: RevealMode) -> None:
    """Issue a new Auth Key; no former key is valid beside it. The API Account ID is created once and never changes."""
    row.account_id = row.account_id or new_id("acct")
    end_overlap(row)
    _set_new_key(row, issuer, now, stored=rules.stores_new_key(mode, shown=False))


def _set_new_key(row: MerchantRow, issuer: CredentialIssuer, now: datetime, *, stored: bool) -> str:
    assert row.account_id is not None
    key = new_api_key(livemode=row.livemode)
    row.sealed_key = issuer.encryptor.encrypt(key.encode(), associated_data=row.account_id) if stored else None
    row.key_hint = hint(key)
    row.key_digest = issuer.peppers.digest(key)
    row.key_pepper_version = issuer.peppers.current_version
    row.key_made_at = now
    return key


def end_overlap(row: MerchantRow) -> None:
    """The former key is valid no more."""
    row.previous_key_digest = None
    row.previous_key_pepper_version = None
    row.previous_key_valid_until = None
    row.previous_key_used_at = None


async def _update_fields(session: AsyncSession, row: MerchantRow, patch: MerchantPatch) -> logins.EmailUpdate:
    change = logins.EmailUpdate(row.login_email)
    given = patch.model_fields_set
    if given & {"location_ids", "default_location_id"}:
        location_ids = row.location_ids if patch.location_ids is None else patch.location_ids
        same_default = row.default_location_id if row.default_location_id in location_ids else None
        default_id = patch.default_location_id if "default_location_id" in given else same_default
        added = set(location_ids) - set(row.location_ids)
        await _check_locations(session, row.tenant_id, location_ids, default_id, added=added)
        row.location_ids = location_ids
        row.default_location_id = default_id
    if "reference_id" in given:
        await require_free_reference_id(session, row.tenant_id, patch.reference_id, row.merchant_id)
        row.reference_id = patch.reference_id
    if patch.login_email is not None:
        to = queries.recipient(row)
        change = await logins.update_email(session, to, patch.login_email, "merchant", datetime.now(UTC))
        if change.email != row.login_email:
            row.login_email = change.email
            row.email_refused_at = row.email_refusal = None
    if "language" in given:
        row.language = patch.language
    if "contact_email" in given:
        row.contact_email = patch.contact_email
    if "phone" in given:
        row.phone = patch.phone
    if "address" in given:
        row.address = patch_member("address", ADDRESS, row.address, patch.address)
    row.business_name = patch.business_name or row.business_name
    if "metadata" in given:
        row.details = patch_member("metadata", METADATA, row.details, patch.metadata) or {}
    return change


async def _check_locations(
    session: AsyncSession, tenant_id: str, location_ids: list[str], default_id: str | None, *, added: set[str]
) -> None:
    active_by_id = await locations.active_by_id(session, tenant_id, location_ids)
    rules.check_locations(location_ids, default_id, active_by_id=active_by_id, added=added)


def _access_state(row: MerchantRow) -> rules.AccessState:
    return rules.AccessState(level=row.level, active=row.status == "active", api_access=row.api_access)
