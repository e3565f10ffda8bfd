"""Creates, changes, activates and deactivates locations."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, fields, tenants
from identity.actors import Actor
from identity.locations import rules
from identity.locations.queries import lock_for_update, require_free_reference_id, view
from identity.locations.schemas import Location, LocationIn, LocationPatch
from identity.locations.tables import LocationRow
from identity.tenants import TenantRow
from shared.api import IfMatch
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox

ListStrandedMerchants = Callable[[AsyncSession, str, str], Awaitable[list[str]]]
"""Lists the active merchants of a tenant (first id) that have no other active location than one (second id)."""


async def create(session: AsyncSession, actor: Actor, body: LocationIn, *, locations_max: int) -> Location:
    """A new, active location. Raises `NameTaken` for a reference id in use and `LimitReached`."""
    tenant = await tenants.lock_own(session, actor)
    await tenants.require_room(
        session, LocationRow, col(LocationRow.tenant_id) == actor.tenant_id, maximum=locations_max
    )
    await require_free_reference_id(session, actor.tenant_id, body.reference_id, None)
    row = new_row(tenant, name=body.name, is_default=False, now=datetime.now(UTC))
    row.type = body.type
    row.reference_id = body.reference_id
    row.address = fields.to_document(body.address)
    row.geo = fields.to_document(body.geo)
    row.timezone = body.timezone or tenant.timezone
    session.add(row)
    publish(session, facts.LocationCreated, row)
    audit.record(session, actor, "location.created", row.location_id, after=audit.snapshot(view(row)))
    return view(row)


async def update(
    session: AsyncSession, actor: Actor, location_id: str, if_match: IfMatch, patch: LocationPatch
) -> Location:
    """Change what the patch names. Raises `NotFound`, `PreconditionFailed`, `NameTaken`."""
    row = await lock_for_update(session, actor, location_id)
    if_match.check(row.version)
    before = view(row)
    given = patch.model_fields_set
    if "reference_id" in given:
        await require_free_reference_id(session, actor.tenant_id, patch.reference_id, location_id)
        row.reference_id = patch.reference_id
    if "address" in given:
        row.address = fields.to_document(patch.address)
    if "geo" in given:
        row.geo = fields.to_document(patch.geo)
    row.type = patch.type or row.type
    row.name = patch.name or row.name
    row.timezone = patch.timezone or row.timezone
    if view(row) != before:
        _changed(session, actor, row, facts.LocationUpdated, before)
    return view(row)


async def activate(session: AsyncSession, actor: Actor, location_id: str) -> Location:
    """Make a location usable; repeating it changes nothing. Raises `NotFound`."""
    row = await lock_for_update(session, actor, location_id)
    if not row.active:
        before = view(row)
        row.active = True
        _changed(session, actor, row, facts.LocationActivated, before)
    return view(row)


async def deactivate(
    session: AsyncSession, actor: Actor, location_id: str, *, list_stranded_merchants: ListStrandedMerchants
) -> Location:
    """Stop a location; repeating it changes nothing. Raises `NotFound`, `LocationNeeded`."""
    row = await lock_for_update(session, actor, location_id)
    if row.active:
        stranded = await list_stranded_merchants(session, row.tenant_id, row.location_id)
        rules.check_deactivatable(is_default=row.is_default, merchants_without_other=stranded)
        before = view(row)
        row.active = False
        _changed(session, actor, row, facts.LocationDeactivated, before)
    return view(row)


def new_row(tenant: TenantRow, *, name: str, is_default: bool, now: datetime) -> LocationRow:
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
    session: AsyncSession, actor: Actor, row: LocationRow, fact: type[facts.LocationEvent], before: Location
) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    publish(session, fact, row)
    audit.record(
        session,
        actor,
        fact.type_name(),
        row.location_id,
        before=audit.snapshot(before),
        after=audit.snapshot(view(row)),
    )
