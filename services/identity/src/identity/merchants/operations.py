"""Creates and changes merchants, grants and revokes their API access, and issues their API credentials.

Only active merchants of level 2 have API access. Leaving level 2 or being disabled ends it in the same transaction; coming back does
not restore it. A merchant and its API credentials are one aggregate: each of its events raises its one version by one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, fields, locations, logins, sessions, tenants
from identity.actors import Actor
from identity.logins import Passwords
from identity.merchants import queries, rules
from identity.merchants.queries import lock_for_update, require_free_reference_id, view, visible_rows
from identity.merchants.rules import API_ACCESS_PERMISSION
from identity.merchants.schemas import Merchant, MerchantIn, MerchantPatch, NewMerchant
from identity.merchants.tables import MerchantRow
from identity.tenants import TenantRow
from shared.access.credentials import Peppers, hint, new_api_key
from shared.api import IfMatch
from shared.crypto.encryptor import Encryptor
from shared.errors import Invalid, NotFound, Violation
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox


@dataclass(frozen=True, slots=True)
class CredentialIssuer:
    """What keys are made with: peppers for the digests, and the ring that seals the copies that can be revealed."""

    peppers: Peppers
    encryptor: Encryptor


def issue_credentials(row: MerchantRow, issuer: CredentialIssuer, now: datetime) -> None:
    """Give a merchant a new Auth Key; its Account ID is made once and stays. No former key works beside it."""
    row.account_id = row.account_id or new_id("acct")
    row.previous_key_digest = None
    row.previous_key_pepper_version = None
    row.previous_key_valid_until = None
    _set_new_key(row, issuer, now)


def revoke_credentials(row: MerchantRow) -> None:
    """End a pair: nobody can reveal its key again. The digest stays, so that its use is answered with the reason."""
    row.sealed_key = None
    row.previous_key_digest = None
    row.previous_key_pepper_version = None
    row.previous_key_valid_until = None


def rotate_credentials(row: MerchantRow, issuer: CredentialIssuer, now: datetime, overlap_seconds: int) -> None:
    """Give a merchant a new Auth Key while the present one stays good for the overlap; one before it ends at once."""
    valid_until = rules.previous_key_until(now, overlap_seconds)
    row.previous_key_digest = row.key_digest if valid_until else None
    row.previous_key_pepper_version = row.key_pepper_version if valid_until else None
    row.previous_key_valid_until = valid_until
    _set_new_key(row, issuer, now)


def reveal_key(row: MerchantRow, issuer: CredentialIssuer) -> str:
    """The Auth Key of a merchant that has API access."""
    assert row.sealed_key is not None
    assert row.account_id is not None
    return issuer.encryptor.decrypt(row.sealed_key, associated_data=row.account_id).decode()


def _set_new_key(row: MerchantRow, issuer: CredentialIssuer, now: datetime) -> None:
    assert row.account_id is not None
    key = new_api_key(livemode=row.livemode)
    row.sealed_key = issuer.encryptor.encrypt(key.encode(), associated_data=row.account_id)
    row.key_hint = hint(key)
    row.key_digest = issuer.peppers.digest(key)
    row.key_pepper_version = issuer.peppers.current_version
    row.key_made_at = now


async def create(
    session: AsyncSession,
    actor: Actor,
    passwords: Passwords,
    issuer: CredentialIssuer,
    body: MerchantIn,
    *,
    merchants_max: int,
) -> NewMerchant:
    """A new merchant, with API access when the toggle is on.

    Raises `Invalid` (level 1 with API access, unknown locations), `Forbidden`, `NameTaken`, `LimitReached`.
    """
    rules.check_level_in_body(body.level, body.api_access)
    if body.api_access:
        rules.check_held(API_ACCESS_PERMISSION, actor.permissions)
    password_hash = await logins.hash_if_given(passwords, body.password)
    tenant = await tenants.lock_own(session, actor)
    await _check_locations(
        session, tenant.tenant_id, body.location_ids, body.default_location_id, chosen=set(body.location_ids)
    )
    await tenants.require_room(
        session, MerchantRow, col(MerchantRow.tenant_id) == actor.tenant_id, maximum=merchants_max
    )
    await require_free_reference_id(session, tenant.tenant_id, body.reference_id, None)
    now = datetime.now(UTC)
    row = _new_row(tenant, body, now)
    session.add(row)
    invitation = await logins.create(
        session,
        tenant_id=tenant.tenant_id,
        email=body.login_email,
        subject_id=row.merchant_id,
        kind="merchant",
        password_hash=password_hash,
        now=now,
    )
    changes: list[type[facts.MerchantEvent]] = [facts.MerchantCreated]
    if body.api_access:
        row.api_access = True
        issue_credentials(row, issuer, now)
        changes.append(facts.ApiAccessGranted)
    row.version = len(changes)
    _publish_each(session, row, changes)
    for fact in changes:
        audit.record(session, actor, fact.type_name(), row.merchant_id, after=audit.snapshot(view(row)))
    return NewMerchant(
        **view(row).model_dump(),
        invitation_token=invitation.token,
        invitation_expires_at=invitation.expires_at,
    )


async def update(
    session: AsyncSession,
    actor: Actor,
    issuer: CredentialIssuer,
    merchant_id: str,
    if_match: IfMatch,
    patch: MerchantPatch,
) -> Merchant:
    """Change what the patch names; level and API access follow the rules of access.

    Raises `NotFound`, `PreconditionFailed`, `Forbidden`, `Invalid`, `NameTaken`, `MerchantDisabled`.
    """
    if patch.api_access is not None:
        rules.check_held(API_ACCESS_PERMISSION, actor.permissions)
    await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, merchant_id)
    if_match.check(row.version)
    state = rules.update_access(_state(row), level=patch.level, api_access=patch.api_access)
    before = view(row)
    await _update_fields(session, row, patch)
    changes: list[type[facts.MerchantEvent]] = []
    if state.level != row.level:
        row.level = state.level
        changes.append(facts.MerchantLevelChanged)
    elif _without_access(view(row)) != _without_access(before):
        changes.append(facts.MerchantUpdated)
    changes += _set_access(row, state.api_access, issuer)
    _changed(session, actor, row, changes, before)
    return view(row)


async def disable(session: AsyncSession, actor: Actor, merchant_id: str) -> Merchant:
    """Shut a merchant out: its sessions and its API access end; repeating it changes nothing. Raises `NotFound`."""
    row = await lock_for_update(session, actor, merchant_id)
    if row.status == "active":
        before = view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = sessions.next_valid_from(now, row.sessions_valid_from)
        await sessions.end_all(session, merchant_id, now)
        changes: list[type[facts.MerchantEvent]] = [facts.MerchantDisabled]
        if row.api_access:
            changes.append(_end_access(row))
        _changed(session, actor, row, changes, before)
    return view(row)


async def enable(session: AsyncSession, actor: Actor, merchant_id: str) -> Merchant:
    """Let a disabled merchant in again, without API access; repeating it changes nothing.

    Raises `NotFound`, and `LocationNeeded` when none of its locations is active any more.
    """
    tenant = await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, merchant_id)
    if row.status == "disabled":
        known = await locations.active_by_id(session, tenant.tenant_id, row.location_ids)
        if not any(known.values()):
            raise locations.LocationNeeded("none of this merchant's locations is active", location_ids=row.location_ids)
        before = view(row)
        row.status = "active"
        _changed(session, actor, row, [facts.MerchantEnabled], before)
    return view(row)


async def grant_api_access(session: AsyncSession, actor: Actor, issuer: CredentialIssuer, merchant_id: str) -> Merchant:
    """Give a merchant API access and a new Auth Key; repeating it changes nothing.

    Raises `NotFound`, `MerchantLevelRequired`, `MerchantDisabled`.
    """
    row = await lock_for_update(session, actor, merchant_id)
    if not row.api_access:
        state = rules.grant(_state(row))
        before = view(row)
        changes = _set_access(row, state.api_access, issuer)
        _changed(session, actor, row, changes, before)
    return view(row)


async def revoke_api_access(session: AsyncSession, actor: Actor, merchant_id: str) -> None:
    """End a merchant's API access, in every service at once; repeating it changes nothing. Raises `NotFound`."""
    _revoke_access(session, actor, await lock_for_update(session, actor, merchant_id))


async def revoke_api_access_by_account(session: AsyncSession, actor: Actor, account_id: str) -> None:
    """The same operation, for the merchant that has this API Account ID. Raises `NotFound`."""
    statement = visible_rows(actor).where(col(MerchantRow.account_id) == account_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no merchant has this API Account ID", code="account_not_found")
    _revoke_access(session, actor, row)


def publish(session: AsyncSession, fact: type[facts.MerchantEvent], row: MerchantRow, version: int) -> None:
    """Tell a fact of a merchant with its whole present state."""
    state = facts.MerchantState(
        merchant_id=row.merchant_id,
        tenant_id=row.tenant_id,
        business_name=row.business_name,
        level=row.level,
        status=row.status,
        api_access=row.api_access,
        location_ids=row.location_ids,
        default_location_id=row.default_location_id,
        reference_id=row.reference_id,
        sessions_valid_from=row.sessions_valid_from,
        pair=queries.credentials_state(row),
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.merchant_id, sequence=version, data=state),
    )


def _revoke_access(session: AsyncSession, actor: Actor, row: MerchantRow) -> None:
    if row.api_access:
        before = view(row)
        _changed(session, actor, row, [_end_access(row)], before)


def _set_access(row: MerchantRow, api_access: bool, issuer: CredentialIssuer) -> list[type[facts.MerchantEvent]]:
    if api_access == row.api_access:
        return []
    if not api_access:
        return [_end_access(row)]
    row.api_access = True
    issue_credentials(row, issuer, datetime.now(UTC))
    return [facts.ApiAccessGranted]


def _end_access(row: MerchantRow) -> type[facts.MerchantEvent]:
    row.api_access = False
    revoke_credentials(row)
    return facts.ApiAccessRevoked


def _changed(
    session: AsyncSession, actor: Actor, row: MerchantRow, changes: list[type[facts.MerchantEvent]], before: Merchant
) -> None:
    if not changes:
        return
    row.version += len(changes)
    row.updated_at = datetime.now(UTC)
    _publish_each(session, row, changes)
    for fact in changes:
        audit.record(
            session,
            actor,
            fact.type_name(),
            row.merchant_id,
            before=audit.snapshot(before),
            after=audit.snapshot(view(row)),
        )


def _publish_each(session: AsyncSession, row: MerchantRow, changes: list[type[facts.MerchantEvent]]) -> None:
    """Each fact has a version of its own, so that no consumer takes the second for a repeat of the first."""
    for offset, fact in enumerate(changes):
        publish(session, fact, row, row.version - len(changes) + 1 + offset)


async def _update_fields(session: AsyncSession, row: MerchantRow, patch: MerchantPatch) -> None:
    given = patch.model_fields_set
    if given & {"location_ids", "default_location_id"}:
        location_ids = row.location_ids if patch.location_ids is None else patch.location_ids
        kept = row.default_location_id if row.default_location_id in location_ids else None
        default_id = patch.default_location_id if "default_location_id" in given else kept
        chosen = set(location_ids) - set(row.location_ids)
        await _check_locations(session, row.tenant_id, location_ids, default_id, chosen=chosen)
        row.location_ids = location_ids
        row.default_location_id = default_id
    if "reference_id" in given:
        await require_free_reference_id(session, row.tenant_id, patch.reference_id, row.merchant_id)
        row.reference_id = patch.reference_id
    if patch.login_email is not None:
        await logins.change_email(session, tenant_id=row.tenant_id, email=patch.login_email, subject_id=row.merchant_id)
        row.login_email = patch.login_email
    if "contact_email" in given:
        row.contact_email = patch.contact_email
    if "phone" in given:
        row.phone = patch.phone
    if "address" in given:
        row.address = fields.to_document(patch.address)
    row.business_name = patch.business_name or row.business_name
    row.details = row.details if patch.metadata is None else patch.metadata


async def _check_locations(
    session: AsyncSession, tenant_id: str, location_ids: list[str], default_id: str | None, *, chosen: set[str]
) -> None:
    """Raises `Invalid` with all that is wrong. Only locations that are newly chosen must be active; one at least must be."""
    known = await locations.active_by_id(session, tenant_id, location_ids)
    violations = []
    for index, location_id in enumerate(location_ids):
        place = f"/location_ids/{index}"
        if location_id in location_ids[:index]:
            violations.append(Violation(place, "duplicate", "this location is listed twice"))
        elif location_id not in known:
            violations.append(Violation(place, "location_unknown", "no location with this id"))
        elif location_id in chosen and not known[location_id]:
            violations.append(Violation(place, "location_inactive", "this location is not active"))
    if not violations and not any(known.values()):
        violations.append(Violation("/location_ids", "location_inactive", "one location at least must be active"))
    if default_id is not None and default_id not in location_ids:
        violations.append(Violation("/default_location_id", "not_listed", "the default is not one of location_ids"))
    if violations:
        raise Invalid("the locations are not acceptable: see errors", *violations)


def _state(row: MerchantRow) -> rules.AccessState:
    return rules.AccessState(level=row.level, active=row.status == "active", api_access=row.api_access)


def _without_access(merchant: Merchant) -> Merchant:
    return merchant.model_copy(update={"api_access": False, "api_account_id": None})


def _new_row(tenant: TenantRow, body: MerchantIn, now: datetime) -> MerchantRow:
    return MerchantRow(
        merchant_id=new_id("mer"),
        tenant_id=tenant.tenant_id,
        version=1,
        business_name=body.business_name,
        login_email=body.login_email,
        contact_email=body.contact_email,
        phone=body.phone,
        address=fields.to_document(body.address),
        level=body.level,
        status="active",
        api_access=False,
        location_ids=body.location_ids,
        default_location_id=body.default_location_id,
        reference_id=body.reference_id,
        details=body.metadata,
        sessions_valid_from=now,
        livemode=not tenant.test,
        created_at=now,
        updated_at=now,
    )
