"""Locations: branches and warehouses; one of them is the tenant's default, and no active merchant is left without one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, domain, tenancy
from identity.audit import Author
from identity.models import fields
from identity.models.locations import Location, LocationIn, LocationPatch, LocationRow
from identity.models.tenants import TenantRow
from shared.api import IfMatch, Page, Paging, page
from shared.errors import NotFound
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox

ListStrandedMerchants = Callable[[AsyncSession, str, str], Awaitable[list[str]]]
"""Lists the active merchants of a tenant (first id) that have no other active location than one (second id)."""


async def create(session: AsyncSession, author: Author, body: LocationIn, *, locations_max: int) -> Location:
    """A new, active location. Raises `NameTaken` for a reference id in use and `LimitReached`."""
    tenant = await tenancy.locked(session, author)
    await tenancy.require_room(
        session, LocationRow, col(LocationRow.tenant_id) == author.tenant_id, maximum=locations_max
    )
    await _require_free(session, author.tenant_id, body.reference_id, None)
    row = new(tenant, name=body.name, is_default=False, now=datetime.now(UTC))
    row.type = body.type
    row.reference_id = body.reference_id
    row.address = fields.stored(body.address)
    row.geo = fields.stored(body.geo)
    row.timezone = body.timezone or tenant.timezone
    session.add(row)
    publish(session, facts.LocationCreated, row)
    audit.record(session, author, "location.created", row.location_id, after=audit.told(view(row)))
    return view(row)


async def find(session: AsyncSession, author: Author, paging: Paging, *, active: bool | None) -> Page[Location]:
    """The tenant's locations, newest first."""
    statement = _rows(author)
    if active is not None:
        statement = statement.where(col(LocationRow.active) == active)
    order = (col(LocationRow.created_at), col(LocationRow.location_id))
    return await page(session, statement, paging, by=order, view=view, filters=[active])


async def get(session: AsyncSession, author: Author, location_id: str) -> Location:
    """One location. Raises `NotFound`."""
    return view(await _one(session, _rows(author).where(col(LocationRow.location_id) == location_id)))


async def change(
    session: AsyncSession, author: Author, location_id: str, if_match: IfMatch, patch: LocationPatch
) -> Location:
    """Change what the patch names. Raises `NotFound`, `PreconditionFailed`, `NameTaken`."""
    row = await _locked(session, author, location_id)
    if_match.check(row.version)
    before = view(row)
    given = patch.model_fields_set
    if "reference_id" in given:
        await _require_free(session, author.tenant_id, patch.reference_id, location_id)
        row.reference_id = patch.reference_id
    if "address" in given:
        row.address = fields.stored(patch.address)
    if "geo" in given:
        row.geo = fields.stored(patch.geo)
    row.type = patch.type or row.type
    row.name = patch.name or row.name
    row.timezone = patch.timezone or row.timezone
    if view(row) != before:
        _changed(session, author, row, facts.LocationUpdated, before)
    return view(row)


async def activate(session: AsyncSession, author: Author, location_id: str) -> Location:
    """Make a location usable; repeating it changes nothing. Raises `NotFound`."""
    row = await _locked(session, author, location_id)
    if not row.active:
        before = view(row)
        row.active = True
        _changed(session, author, row, facts.LocationActivated, before)
    return view(row)


async def deactivate(
    session: AsyncSession, author: Author, location_id: str, *, list_stranded_merchants: ListStrandedMerchants
) -> Location:
    """Stop a location; repeating it changes nothing. Raises `NotFound`, `LocationNeeded`."""
    row = await _locked(session, author, location_id)
    if row.active:
        stranded = await list_stranded_merchants(session, row.tenant_id, row.location_id)
        domain.check_deactivatable(is_default=row.is_default, merchants_without_other=stranded)
        before = view(row)
        row.active = False
        _changed(session, author, row, facts.LocationDeactivated, before)
    return view(row)


async def known_of(session: AsyncSession, tenant_id: str, location_ids: list[str]) -> dict[str, bool]:
    """Which of these ids are locations of the tenant, and whether they are active."""
    statement = select(col(LocationRow.location_id), col(LocationRow.active)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.location_id).in_(location_ids)
    )
    return {row.location_id: row.active for row in (await session.execute(statement)).all()}


def new(tenant: TenantRow, *, name: str, is_default: bool, now: datetime) -> LocationRow:
    """A row for a new location; whoever makes it adds and publishes it."""
    return LocationRow(
        location_id=new_id("loc"),
        tenant_id=tenant.tenant_id,
        version=1,
        type="branch",
        name=name,
        reference_id=None,
        address=None,
        geo=None,
        timezone=tenant.timezone,
        active=True,
        is_default=is_default,
        livemode=not tenant.test,
        created_at=now,
        updated_at=now,
    )


def view(row: LocationRow) -> Location:
    """A location as the API shows it."""
    return Location(
        id=row.location_id,
        tenant_id=row.tenant_id,
        type=row.type,
        name=row.name,
        reference_id=row.reference_id,
        address=fields.address(row.address),
        geo=fields.GeoPoint.model_validate(row.geo) if row.geo is not None else None,
        timezone=row.timezone,
        active=row.active,
        is_default=row.is_default,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def publish(session: AsyncSession, fact: type[facts.LocationEvent], row: LocationRow) -> None:
    """Tell a fact of a location with its whole present state."""
    state = facts.LocationState(
        location_id=row.location_id,
        tenant_id=row.tenant_id,
        type=row.type,
        name=row.name,
        reference_id=row.reference_id,
        timezone=row.timezone,
        active=row.active,
        is_default=row.is_default,
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.location_id, sequence=row.version, data=state),
    )


def _changed(
    session: AsyncSession, author: Author, row: LocationRow, fact: type[facts.LocationEvent], before: Location
) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    publish(session, fact, row)
    audit.record(
        session, author, fact.type_name(), row.location_id, before=audit.told(before), after=audit.told(view(row))
    )


def _rows(author: Author) -> Select[LocationRow]:
    return tenancy.visible(select(LocationRow), author, LocationRow.tenant_id, LocationRow.livemode)


async def _locked(session: AsyncSession, author: Author, location_id: str) -> LocationRow:
    # The tenant's lock keeps merchants from choosing a location while it is being deactivated, and the other way round.
    await tenancy.locked(session, author)
    statement = _rows(author).where(col(LocationRow.location_id) == location_id)
    return await _one(session, statement.with_for_update(key_share=True))


async def _one(session: AsyncSession, statement: Select[LocationRow]) -> LocationRow:
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no location with this id", code="location_not_found")
    return row


async def _require_free(session: AsyncSession, tenant_id: str, reference_id: str | None, own_id: str | None) -> None:
    if reference_id is None:
        return
    statement = select(col(LocationRow.location_id)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.reference_id) == reference_id
    )
    holder = await session.scalar(statement)
    if holder is not None and holder != own_id:
        raise domain.NameTaken("a location has this reference id", code="reference_id_taken", existing_id=holder)
