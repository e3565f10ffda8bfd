"""Reads and locks locations."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import fields, rows, tenants
from identity.locations.schemas import Location
from identity.locations.tables import LocationRow
from identity.search_words import search_page
from shared.api import ANY_VERSION, IfMatch, Page, Paging, where_equal
from shared.audit import Actor
from shared.errors import NotFound


async def list_locations(
    session: AsyncSession, actor: Actor, paging: Paging, *, active: bool | None, q: str | None
) -> Page[Location]:
    """The tenant's locations, newest first; with `q` those whose words begin with its words."""
    statement = where_equal(visible_rows(actor), {col(LocationRow.active): active})
    return await search_page(session, LocationRow, actor.tenant_id, statement, paging, q=q, view=view, filters=[active])


async def get(session: AsyncSession, actor: Actor, location_id: str) -> Location:
    """One location. Raises `NotFound`."""
    return view(await rows.get_one(session, _by_id(actor, location_id), _not_found()))


async def lock_for_update(
    session: AsyncSession, actor: Actor, location_id: str, if_match: IfMatch = ANY_VERSION
) -> LocationRow:
    """One location's row, locked after its tenant's. Raises `NotFound`, `PreconditionFailed`."""
    # The tenant's lock: no merchant can choose a location while it is being deactivated.
    await tenants.lock_own(session, actor)
    row = await rows.get_one(session, _by_id(actor, location_id).with_for_update(key_share=True), _not_found())
    if_match.check(row.version)
    return row


async def active_by_id(session: AsyncSession, tenant_id: str, location_ids: list[str]) -> dict[str, bool]:
    """Whether each of these locations is active; ids that the tenant does not have are left out."""
    statement = select(col(LocationRow.location_id), col(LocationRow.active)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.location_id).in_(location_ids)
    )
    return {row.location_id: row.active for row in (await session.execute(statement)).all()}


async def require_free_reference_id(
    session: AsyncSession, tenant_id: str, reference_id: str | None, own_id: str | None
) -> None:
    """Raises `AlreadyExists` when another location of the tenant has this reference id."""
    if reference_id is None:
        return
    holder = select(col(LocationRow.location_id)).where(
        col(LocationRow.tenant_id) == tenant_id, col(LocationRow.reference_id) == reference_id
    )
    await rows.require_free(
        session, holder, own_id, message="a location has this reference id", code="reference_id_taken"
    )


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


def _by_id(actor: Actor, location_id: str) -> Select[LocationRow]:
    return visible_rows(actor).where(col(LocationRow.location_id) == location_id)


def visible_rows(actor: Actor) -> Select[LocationRow]:
    """The locations that an actor sees."""
    return rows.visible_to(select(LocationRow), actor, LocationRow.tenant_id, LocationRow.livemode)


def _not_found() -> NotFound:
    return NotFound("no location with this id", code="location_not_found")
