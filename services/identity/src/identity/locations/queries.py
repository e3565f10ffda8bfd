"""Reads and locks locations."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import fields, tenants
from identity.actors import Actor
from identity.locations.schemas import Location
from identity.locations.tables import LocationRow
from shared.api import Page, Paging, page
from shared.errors import NotFound


async def list_locations(session: AsyncSession, actor: Actor, paging: Paging, *, active: bool | None) -> Page[Location]:
    """The tenant's locations, newest first."""
    statement = _visible_rows(actor)
    if active is not None:
        statement = statement.where(col(LocationRow.active) == active)
    order = (col(LocationRow.created_at), col(LocationRow.location_id))
    return await page(session, statement, paging, by=order, view=view, filters=[active])


async def get(session: AsyncSession, actor: Actor, location_id: str) -> Location:
    """One location. Raises `NotFound`."""
    return view(await _one(session, _visible_rows(actor).where(col(LocationRow.location_id) == location_id)))


async def active_by_id(session: AsyncSession, tenant_id: str, location_ids: list[str]) -> dict[str, bool]:
    """Which of these ids are locations of the tenant, and whether they are active."""
    statement = select(col(LocationRow.location_id), col(LocationRow.active)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.location_id).in_(location_ids)
    )
    return {row.location_id: row.active for row in (await session.execute(statement)).all()}


def view(row: LocationRow) -> Location:
    """A location as the API shows it."""
    return Location(
        id=row.location_id,
        tenant_id=row.tenant_id,
        type=row.type,
        name=row.name,
        reference_id=row.reference_id,
        address=fields.address_of(row.address),
        geo=fields.GeoPoint.model_validate(row.geo) if row.geo is not None else None,
        timezone=row.timezone,
        active=row.active,
        is_default=row.is_default,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _visible_rows(actor: Actor) -> Select[LocationRow]:
    return tenants.visible_to(select(LocationRow), actor, LocationRow.tenant_id, LocationRow.livemode)


async def lock_for_update(session: AsyncSession, actor: Actor, location_id: str) -> LocationRow:
    # The tenant's lock keeps merchants from choosing a location while it is being deactivated, and the other way round.
    await tenants.lock_own(session, actor)
    statement = _visible_rows(actor).where(col(LocationRow.location_id) == location_id)
    return await _one(session, statement.with_for_update(key_share=True))


async def _one(session: AsyncSession, statement: Select[LocationRow]) -> LocationRow:
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no location with this id", code="location_not_found")
    return row


async def require_free_reference_id(
    session: AsyncSession, tenant_id: str, reference_id: str | None, own_id: str | None
) -> None:
    if reference_id is None:
        return
    statement = select(col(LocationRow.location_id)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.reference_id) == reference_id
    )
    holder = await session.scalar(statement)
    if holder is not None and holder != own_id:
        raise tenants.AlreadyExists("a location has this reference id", code="reference_id_taken", existing_id=holder)
