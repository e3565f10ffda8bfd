"""Creates, updates, activates and deactivates locations."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import changes, fields, rows, tenants
from identity.locations import rules
from identity.locations.queries import lock_for_update, require_free_reference_id, view
from identity.locations.schemas import Location, LocationIn, LocationPatch
from identity.locations.tables import LocationRow
from identity.search_words import search_words
from identity.tenants import TenantRow
from shared import audit
from shared.api import IfMatch
from shared.audit import Actor
from shared.events import identity as events
from shared.fields.merge_patch import patch_member
from shared.fields.places import ADDRESS, GEO
from shared.ids import new_id

ListStrandedMerchants = Callable[[AsyncSession, str, str], Awaitable[list[str]]]
"""Lists the active merchants of a tenant (first id) that have no other active location than one (second id)."""


async def create(session: AsyncSession, actor: Actor, body: LocationIn, *, locations_max: int) -> Location:
    """A new, active location. Raises `AlreadyExists` (reference id) and `LimitReached`."""
    tenant = await tenants.lock_own(session, actor)
    await rows.require_room(session, LocationRow, col(LocationRow.tenant_id) == actor.tenant_id, maximum=locations_max)
    await require_free_reference_id(session, actor.tenant_id, body.reference_id, None)
    row = new_row(tenant, name=body.name, is_default=False, now=datetime.now(UTC))
    row.type = body.type
    row.reference_id = body.reference_id
    row.address = fields.to_document(body.address)
    row.geo = fields.to_document(body.geo)
    row.timezone = body.timezone or tenant.timezone
    session.add(row)
    publish(session, events.LocationCreated, row)
    audit.record(session, actor, "location.created", row.location_id, after=view(row))
    return view(row)


async def update(
    session: AsyncSession, actor: Actor, location_id: str, if_match: IfMatch, patch: LocationPatch
) -> Location:
    """Change the given fields. Raises `NotFound`, `PreconditionFailed`, `AlreadyExists`."""
    row = await lock_for_update(session, actor, location_id, if_match)
    before = view(row)
    given = patch.model_fields_set
    if "reference_id" in given:
        await require_free_reference_id(session, actor.tenant_id, patch.reference_id, location_id)
        row.reference_id = patch.reference_id
    if "address" in given:
        row.address = patch_member("address", ADDRESS, row.address, patch.address)
    if "geo" in given:
        row.geo = patch_member("geo", GEO, row.geo, patch.geo)
    row.type = patch.type or row.type
    row.name = patch.name or row.name
    row.timezone = patch.timezone or row.timezone
    if view(row) != before:
        _publish_change(session, actor, events.LocationUpdated, row, before)
    return view(row)


async def activate(session: AsyncSession, actor: Actor, location_id: str) -> Location:
    """Activate a location. Repeating it changes nothing. Raises `NotFound`."""
    row = await lock_for_update(session, actor, location_id)
    if not row.active:
        before = view(row)
        row.active = True
        _publish_change(session, actor, events.LocationActivated, row, before)
    return view(row)


async def deactivate(
    session: AsyncSession, actor: Actor, location_id: str, *, list_stranded_merchants: ListStrandedMerchants
) -> Location:
    """Deactivate a location. Repeating it changes nothing. Raises `NotFound`, `LocationNeeded`."""
    row = await lock_for_update(session, actor, location_id)
    if row.active:
        stranded = await list_stranded_merchants(session, row.tenant_id, row.location_id)
        rules.check_deactivatable(is_default=row.is_default, stranded_merchant_ids=stranded)
        before = view(row)
        row.active = False
        _publish_change(session, actor, events.LocationDeactivated, row, before)
    return view(row)


def new_row(tenant: TenantRow, *, name: str, is_default: bool, now: datetime) -> LocationRow:
    """The row of a new branch in the tenant's time zone. The caller adds it to the session and publishes it."""
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


def index(row: LocationRow) -> None:
    """Have a row found by the words that it has now."""
    row.search_words = search_words(row.tenant_id, row.name, row.reference_id)


def publish(session: AsyncSession, event_type: type[events.LocationEvent], row: LocationRow) -> None:
    """Publish an event with the location's whole state."""
    index(row)
    changes.publish(session, event_type, row, subject=row.location_id, state=_state(row))


def _publish_change(
    session: AsyncSession, actor: Actor, event_type: type[events.LocationEvent], row: LocationRow, before: Location
) -> None:
    index(row)
    changes.publish_change(
        session, actor, event_type, row, subject=row.location_id, state=_state(row), before=before, after=view(row)
    )


def _state(row: LocationRow) -> events.LocationState:
    return events.LocationState(
        location_id=row.location_id,
        tenant_id=row.tenant_id,
        type=row.type,
        name=row.name,
        reference_id=row.reference_id,
        timezone=row.timezone,
        active=row.active,
        is_default=row.is_default,
    )
