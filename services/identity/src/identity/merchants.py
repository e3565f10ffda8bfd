"""Merchants and their API access.

Access is granted to active merchants of level 2 alone; leaving level 2 or being disabled ends it in the same transaction, and coming back
does not restore it. The merchant and its pair are one aggregate: each fact told of it raises its one version by one.
"""

from datetime import UTC, datetime

from sqlalchemy import Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, credentials, domain, locations, logins, tenancy
from identity.audit import Author
from identity.credentials import Locksmith
from identity.models import fields
from identity.models.locations import LocationRow
from identity.models.merchants import Merchant, MerchantIn, MerchantPatch, MerchantRow, NewMerchant
from identity.models.tenants import TenantRow
from identity.passwords import Passwords
from shared.api import IfMatch, Page, Paging, page
from shared.errors import Invalid, NotFound, Violation
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox

API_ACCESS_PERMISSION = "settings.merchants.api_access"
STRANDED_MAX = 20
"""Merchants that a refusal to deactivate a location names."""


async def create(
    session: AsyncSession,
    author: Author,
    passwords: Passwords,
    locksmith: Locksmith,
    body: MerchantIn,
    *,
    merchants_max: int,
) -> NewMerchant:
    """A new merchant, with API access when the toggle is on.

    Raises `Invalid` (level 1 with API access, unknown locations), `Forbidden`, `NameTaken`, `LimitReached`.
    """
    domain.check_level_in_body(body.level, body.api_access)
    if body.api_access:
        domain.check_held(API_ACCESS_PERMISSION, author.permissions)
    password_hash = await logins.hash_or_none(passwords, body.password)
    tenant = await tenancy.locked(session, author)
    await _check_locations(
        session, tenant.tenant_id, body.location_ids, body.default_location_id, chosen=set(body.location_ids)
    )
    await tenancy.require_room(
        session, MerchantRow, col(MerchantRow.tenant_id) == author.tenant_id, maximum=merchants_max
    )
    await _require_free(session, tenant.tenant_id, body.reference_id, None)
    now = datetime.now(UTC)
    row = _new(tenant, body, now)
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
        credentials.give_pair(row, locksmith, now)
        changes.append(facts.ApiAccessGranted)
    row.version = len(changes)
    _tell(session, row, changes)
    for fact in changes:
        audit.record(session, author, fact.type_name(), row.merchant_id, after=audit.told(view(row)))
    return NewMerchant(
        **view(row).model_dump(),
        invitation_token=invitation.token,
        invitation_expires_at=invitation.expires_at,
    )


async def find(
    session: AsyncSession,
    author: Author,
    paging: Paging,
    *,
    level: int | None,
    status: str | None,
    api_access: bool | None,
    reference_id: str | None,
) -> Page[Merchant]:
    """The tenant's merchants, newest first."""
    statement = _rows(author)
    if level is not None:
        statement = statement.where(col(MerchantRow.level) == level)
    if status is not None:
        statement = statement.where(col(MerchantRow.status) == status)
    if api_access is not None:
        statement = statement.where(col(MerchantRow.api_access) == api_access)
    if reference_id is not None:
        statement = statement.where(col(MerchantRow.reference_id) == reference_id)
    order = (col(MerchantRow.created_at), col(MerchantRow.merchant_id))
    filters = [level, status, api_access, reference_id]
    return await page(session, statement, paging, by=order, view=view, filters=filters)


async def get(session: AsyncSession, author: Author, merchant_id: str) -> Merchant:
    """One merchant. Raises `NotFound`."""
    return view(await _one(session, _rows(author).where(col(MerchantRow.merchant_id) == merchant_id)))


async def list_stranded(session: AsyncSession, tenant_id: str, location_id: str) -> list[str]:
    """Ids of active merchants that have no other active location than this one, `STRANDED_MAX` at most."""
    other = exists().where(
        col(LocationRow.location_id) == func.any(col(MerchantRow.location_ids)),
        col(LocationRow.location_id) != location_id,
        col(LocationRow.active),
    )
    statement = (
        select(col(MerchantRow.merchant_id))
        .where(
            col(MerchantRow.tenant_id) == tenant_id,
            col(MerchantRow.status) == "active",
            col(MerchantRow.location_ids).contains([location_id]),
            ~other,
        )
        .order_by(col(MerchantRow.merchant_id))
        .limit(STRANDED_MAX)
    )
    return list((await session.execute(statement)).scalars())


async def change(
    session: AsyncSession,
    author: Author,
    locksmith: Locksmith,
    merchant_id: str,
    if_match: IfMatch,
    patch: MerchantPatch,
) -> Merchant:
    """Change what the patch names; level and API access follow the rules of access.

    Raises `NotFound`, `PreconditionFailed`, `Forbidden`, `Invalid`, `NameTaken`, `MerchantDisabled`.
    """
    if patch.api_access is not None:
        domain.check_held(API_ACCESS_PERMISSION, author.permissions)
    await tenancy.locked(session, author)
    row = await _locked(session, author, merchant_id)
    if_match.check(row.version)
    state = domain.change_access(_state(row), level=patch.level, api_access=patch.api_access)
    before = view(row)
    await _change_fields(session, row, patch)
    changes: list[type[facts.MerchantEvent]] = []
    if state.level != row.level:
        row.level = state.level
        changes.append(facts.MerchantLevelChanged)
    elif _without_access(view(row)) != _without_access(before):
        changes.append(facts.MerchantUpdated)
    changes += _set_access(row, state.api_access, locksmith)
    _changed(session, author, row, changes, before)
    return view(row)


async def disable(session: AsyncSession, author: Author, merchant_id: str) -> Merchant:
    """Shut a merchant out: its sessions and its API access end; repeating it changes nothing. Raises `NotFound`."""
    row = await _locked(session, author, merchant_id)
    if row.status == "active":
        before = view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = domain.sessions_end(now, row.sessions_valid_from)
        await logins.end_sessions(session, merchant_id, now)
        changes: list[type[facts.MerchantEvent]] = [facts.MerchantDisabled]
        if row.api_access:
            changes.append(_revoke(row))
        _changed(session, author, row, changes, before)
    return view(row)


async def enable(session: AsyncSession, author: Author, merchant_id: str) -> Merchant:
    """Let a disabled merchant in again, without API access; repeating it changes nothing.

    Raises `NotFound`, and `LocationNeeded` when none of its locations is active any more.
    """
    tenant = await tenancy.locked(session, author)
    row = await _locked(session, author, merchant_id)
    if row.status == "disabled":
        known = await locations.known_of(session, tenant.tenant_id, row.location_ids)
        if not any(known.values()):
            raise domain.LocationNeeded("none of this merchant's locations is active", location_ids=row.location_ids)
        before = view(row)
        row.status = "active"
        _changed(session, author, row, [facts.MerchantEnabled], before)
    return view(row)


async def grant_api_access(session: AsyncSession, author: Author, locksmith: Locksmith, merchant_id: str) -> Merchant:
    """Give a merchant API access and a new Auth Key; repeating it changes nothing.

    Raises `NotFound`, `MerchantLevelRequired`, `MerchantDisabled`.
    """
    row = await _locked(session, author, merchant_id)
    if not row.api_access:
        state = domain.grant(_state(row))
        before = view(row)
        changes = _set_access(row, state.api_access, locksmith)
        _changed(session, author, row, changes, before)
    return view(row)


async def revoke_api_access(session: AsyncSession, author: Author, merchant_id: str) -> None:
    """End a merchant's API access, in every service at once; repeating it changes nothing. Raises `NotFound`."""
    _take_access(session, author, await _locked(session, author, merchant_id))


async def deactivate_account(session: AsyncSession, author: Author, account_id: str) -> None:
    """The same operation, for the merchant that has this API Account ID. Raises `NotFound`."""
    statement = _rows(author).where(col(MerchantRow.account_id) == account_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no merchant has this API Account ID", code="account_not_found")
    _take_access(session, author, row)


def view(row: MerchantRow) -> Merchant:
    """A merchant as the API shows it."""
    return Merchant(
        id=row.merchant_id,
        tenant_id=row.tenant_id,
        business_name=row.business_name,
        login_email=row.login_email,
        contact_email=row.contact_email,
        phone=row.phone,
        address=fields.address(row.address),
        level=row.level,
        status=row.status,
        api_access=row.api_access,
        api_account_id=row.account_id if row.api_access else None,
        location_ids=row.location_ids,
        default_location_id=row.default_location_id,
        reference_id=row.reference_id,
        metadata=row.details,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


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
        pair=credentials.pair_state(row),
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.merchant_id, sequence=version, data=state),
    )


def _take_access(session: AsyncSession, author: Author, row: MerchantRow) -> None:
    if row.api_access:
        before = view(row)
        _changed(session, author, row, [_revoke(row)], before)


def _set_access(row: MerchantRow, api_access: bool, locksmith: Locksmith) -> list[type[facts.MerchantEvent]]:
    if api_access == row.api_access:
        return []
    if not api_access:
        return [_revoke(row)]
    row.api_access = True
    credentials.give_pair(row, locksmith, datetime.now(UTC))
    return [facts.ApiAccessGranted]


def _revoke(row: MerchantRow) -> type[facts.MerchantEvent]:
    row.api_access = False
    credentials.take_pair(row)
    return facts.ApiAccessRevoked


def _changed(
    session: AsyncSession, author: Author, row: MerchantRow, changes: list[type[facts.MerchantEvent]], before: Merchant
) -> None:
    if not changes:
        return
    row.version += len(changes)
    row.updated_at = datetime.now(UTC)
    _tell(session, row, changes)
    for fact in changes:
        audit.record(
            session, author, fact.type_name(), row.merchant_id, before=audit.told(before), after=audit.told(view(row))
        )


def _tell(session: AsyncSession, row: MerchantRow, changes: list[type[facts.MerchantEvent]]) -> None:
    """Each fact has a version of its own, so that no consumer takes the second for a repeat of the first."""
    for offset, fact in enumerate(changes):
        publish(session, fact, row, row.version - len(changes) + 1 + offset)


async def _change_fields(session: AsyncSession, row: MerchantRow, patch: MerchantPatch) -> None:
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
        await _require_free(session, row.tenant_id, patch.reference_id, row.merchant_id)
        row.reference_id = patch.reference_id
    if patch.login_email is not None:
        await logins.rename(session, tenant_id=row.tenant_id, email=patch.login_email, subject_id=row.merchant_id)
        row.login_email = patch.login_email
    if "contact_email" in given:
        row.contact_email = patch.contact_email
    if "phone" in given:
        row.phone = patch.phone
    if "address" in given:
        row.address = fields.stored(patch.address)
    row.business_name = patch.business_name or row.business_name
    row.details = row.details if patch.metadata is None else patch.metadata


async def _check_locations(
    session: AsyncSession, tenant_id: str, location_ids: list[str], default_id: str | None, *, chosen: set[str]
) -> None:
    """Raises `Invalid` with all that is wrong. Only locations that are newly chosen must be active; one at least must be."""
    known = await locations.known_of(session, tenant_id, location_ids)
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


async def _require_free(session: AsyncSession, tenant_id: str, reference_id: str | None, own_id: str | None) -> None:
    if reference_id is None:
        return
    statement = select(col(MerchantRow.merchant_id)).where(
        col(MerchantRow.tenant_id) == tenant_id, col(MerchantRow.reference_id) == reference_id
    )
    holder = await session.scalar(statement)
    if holder is not None and holder != own_id:
        raise domain.NameTaken("a merchant has this reference id", code="reference_id_taken", existing_id=holder)


def _state(row: MerchantRow) -> domain.AccessState:
    return domain.AccessState(level=row.level, active=row.status == "active", api_access=row.api_access)


def _without_access(merchant: Merchant) -> Merchant:
    return merchant.model_copy(update={"api_access": False, "api_account_id": None})


def _rows(author: Author) -> Select[MerchantRow]:
    return tenancy.visible(select(MerchantRow), author, MerchantRow.tenant_id, MerchantRow.livemode)


async def _locked(session: AsyncSession, author: Author, merchant_id: str) -> MerchantRow:
    statement = _rows(author).where(col(MerchantRow.merchant_id) == merchant_id)
    return await _one(session, statement.with_for_update(key_share=True))


async def _one(session: AsyncSession, statement: Select[MerchantRow]) -> MerchantRow:
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no merchant with this id", code="merchant_not_found")
    return row


def _new(tenant: TenantRow, body: MerchantIn, now: datetime) -> MerchantRow:
    return MerchantRow(
        merchant_id=new_id("mer"),
        tenant_id=tenant.tenant_id,
        version=1,
        business_name=body.business_name,
        login_email=body.login_email,
        contact_email=body.contact_email,
        phone=body.phone,
        address=fields.stored(body.address),
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
