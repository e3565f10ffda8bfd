"""Tenants: made by the platform together with their owner and a default location; changed, suspended and activated."""

from datetime import UTC, datetime

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, domain, locations, logins, tenancy, users
from identity.audit import Author
from identity.models.tenants import NewTenant, Tenant, TenantIn, TenantPatch, TenantRow
from identity.passwords import Passwords
from shared.api import IfMatch, Page, Paging, page
from shared.errors import Conflict, Forbidden, NotFound
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox

DEFAULT_LOCATION_NAME = "Main"
_NAMES_LOCK = 7_229_102


class TenantClosed(Conflict):
    """A closed tenant stays closed."""

    code = "tenant_closed"


async def create(session: AsyncSession, author: Author, passwords: Passwords, body: TenantIn) -> NewTenant:
    """A tenant with its owner and default location. Raises `NameTaken`, or `Forbidden` when a test key asks for a real one."""
    test = (not author.livemode) if body.test is None else body.test
    if not test and not author.livemode:
        raise Forbidden("a test key makes test tenants only", code="livemode_required")
    password_hash = await logins.hash_or_none(passwords, body.owner.password)
    await _require_free(session, body.name, None)
    now = datetime.now(UTC)
    tenant_id = new_id("ten")
    owner = users.new(
        tenant_id=tenant_id,
        kind="owner",
        email=body.owner.email,
        names=(body.owner.first_name, body.owner.last_name),
        invited=password_hash is None,
        permissions=[],
        livemode=not test,
        now=now,
    )
    row = TenantRow(
        tenant_id=tenant_id,
        version=1,
        name=body.name,
        name_key=domain.unique_key(body.name),
        country=body.country,
        timezone=body.timezone,
        currency=body.currency,
        status="active",
        test=test,
        trial_days=body.trial_days,
        job_review=body.job_review,
        owner_id=owner.user_id,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    await session.flush()
    session.add(owner)
    location = locations.new(row, name=DEFAULT_LOCATION_NAME, is_default=True, now=now)
    session.add(location)
    invitation = await logins.create(
        session,
        tenant_id=tenant_id,
        email=body.owner.email,
        subject_id=owner.user_id,
        kind="user",
        password_hash=password_hash,
        now=now,
    )
    _publish(session, facts.TenantCreated, row)
    users.publish(session, facts.UserCreated, owner)
    locations.publish(session, facts.LocationCreated, location)
    made = NewTenant(
        **view(row).model_dump(),
        owner=users.view(owner),
        default_location=locations.view(location),
        invitation_token=invitation.token,
        invitation_expires_at=invitation.expires_at,
    )
    audit.record(session, author, "tenant.created", tenant_id, after=audit.told(made), tenant_id=tenant_id)
    return made


async def find(session: AsyncSession, author: Author, paging: Paging, *, status: str | None) -> Page[Tenant]:
    """All tenants of the caller's mode, newest first."""
    statement = _rows(author)
    if status is not None:
        statement = statement.where(col(TenantRow.status) == status)
    order = (col(TenantRow.created_at), col(TenantRow.tenant_id))
    return await page(session, statement, paging, by=order, view=view, filters=[status, author.livemode])


async def get(session: AsyncSession, author: Author, tenant_id: str) -> Tenant:
    """One tenant. Raises `NotFound`."""
    return view(
        _found((await session.execute(_rows(author).where(col(TenantRow.tenant_id) == tenant_id))).scalar_one_or_none())
    )


async def change(
    session: AsyncSession, author: Author, tenant_id: str, if_match: IfMatch, patch: TenantPatch
) -> Tenant:
    """Change what the patch names of any tenant. Raises `NotFound`, `PreconditionFailed`, `NameTaken`."""
    return await _apply(session, author, await _locked(session, author, tenant_id), if_match, patch)


async def change_own(session: AsyncSession, author: Author, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    """Change what the patch names of the tenant that the caller acts in.

    Raises `PreconditionFailed`, `NameTaken`, and `Forbidden` when a test key would change a real tenant.
    """
    return await _apply(session, author, await tenancy.locked(session, author), if_match, patch)


async def suspend(session: AsyncSession, author: Author, tenant_id: str) -> Tenant:
    """Stop everybody in a tenant, everywhere and at once; repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _move(session, author, tenant_id, "suspended", facts.TenantSuspended)


async def activate(session: AsyncSession, author: Author, tenant_id: str) -> Tenant:
    """Let a suspended tenant go on; repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _move(session, author, tenant_id, "active", facts.TenantActivated)


def view(row: TenantRow) -> Tenant:
    """A tenant as the API shows it."""
    return Tenant(
        id=row.tenant_id,
        name=row.name,
        country=row.country,
        timezone=row.timezone,
        currency=row.currency,
        status=row.status,
        test=row.test,
        livemode=not row.test,
        job_review=row.job_review,
        owner_id=row.owner_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _rows(author: Author) -> Select[TenantRow]:
    statement = select(TenantRow)
    return statement if author.livemode else statement.where(col(TenantRow.test))


async def _locked(session: AsyncSession, author: Author, tenant_id: str) -> TenantRow:
    statement = _rows(author).where(col(TenantRow.tenant_id) == tenant_id).with_for_update(key_share=True)
    return _found((await session.execute(statement)).scalar_one_or_none())


async def _apply(
    session: AsyncSession, author: Author, row: TenantRow, if_match: IfMatch, patch: TenantPatch
) -> Tenant:
    if_match.check(row.version)
    before = view(row)
    if patch.name is not None:
        await _require_free(session, patch.name, row.tenant_id)
        row.name = patch.name
        row.name_key = domain.unique_key(patch.name)
    row.timezone = patch.timezone or row.timezone
    row.job_review = row.job_review if patch.job_review is None else patch.job_review
    if view(row) != before:
        _changed(session, author, row, facts.TenantUpdated, before)
    return view(row)


async def _move(
    session: AsyncSession, author: Author, tenant_id: str, status: str, fact: type[facts.TenantEvent]
) -> Tenant:
    row = await _locked(session, author, tenant_id)
    if row.status == status:
        return view(row)
    if row.status == "closed":
        raise TenantClosed("a closed tenant stays closed", current_status=row.status, requested=status)
    before = view(row)
    row.status = status
    _changed(session, author, row, fact, before)
    return view(row)


def _changed(
    session: AsyncSession, author: Author, row: TenantRow, fact: type[facts.TenantEvent], before: Tenant
) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    _publish(session, fact, row)
    audit.record(
        session,
        author,
        fact.type_name(),
        row.tenant_id,
        before=audit.told(before),
        after=audit.told(view(row)),
        tenant_id=row.tenant_id,
    )


async def _require_free(session: AsyncSession, name: str, own_id: str | None) -> None:
    await session.execute(select(func.pg_advisory_xact_lock(_NAMES_LOCK)))
    taken = await session.scalar(
        select(col(TenantRow.tenant_id)).where(col(TenantRow.name_key) == domain.unique_key(name))
    )
    if taken is not None and taken != own_id:
        raise domain.NameTaken("a tenant of this name exists", code="name_taken", existing_id=taken)


def _found(row: TenantRow | None) -> TenantRow:
    if row is None:
        raise NotFound("no tenant with this id", code="tenant_not_found")
    return row


def _publish(session: AsyncSession, fact: type[facts.TenantEvent], row: TenantRow) -> None:
    state = facts.TenantState(
        tenant_id=row.tenant_id,
        name=row.name,
        status=row.status,
        country=row.country,
        timezone=row.timezone,
        currency=row.currency,
        test=row.test,
        trial_days=row.trial_days,
        job_review=row.job_review,
        owner_id=row.owner_id,
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.tenant_id, sequence=row.version, data=state),
    )
