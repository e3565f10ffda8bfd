"""Creates a tenant with its owner and its default location, in one transaction."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import locations, logins, rows, tenants, users
from identity.logins import Passwords
from identity.onboarding import rules
from identity.onboarding.schemas import CreatedTenant, TenantIn
from identity.tenants import TenantRow
from shared import audit
from shared.audit import Actor
from shared.events import identity as events
from shared.ids import new_id

DEFAULT_LOCATION_NAME = "Main"


async def create_tenant(session: AsyncSession, actor: Actor, passwords: Passwords, body: TenantIn) -> CreatedTenant:
    """A new tenant. Raises `AlreadyExists` (name), and `Forbidden` when a test key asks for a live tenant."""
    test = rules.is_test(body.test, livemode=actor.livemode)
    password_hash = await logins.hash_if_given(passwords, body.owner.password)
    await tenants.require_free_name(session, actor, body.name, None)
    now = datetime.now(UTC)
    tenant_id = new_id("ten")
    owner = users.new_row(
        tenant_id=tenant_id,
        kind="owner",
        email=body.owner.email,
        names=(body.owner.first_name, body.owner.last_name),
        language=body.owner.language,
        invited=password_hash is None,
        permissions=[],
        livemode=not test,
        now=now,
    )
    row = _new_row(tenant_id, owner.user_id, body, test, now)
    session.add(row)
    await session.flush()
    session.add(owner)
    location = locations.new_row(row, name=DEFAULT_LOCATION_NAME, is_default=True, now=now)
    session.add(location)
    invitation = await logins.create(
        session,
        tenant_id=tenant_id,
        email=body.owner.email,
        subject_id=owner.user_id,
        kind="user",
        password_hash=password_hash,
        invited_by=actor.id,
        now=now,
    )
    invitation = await logins.mail_invitation(session, invitation, users.recipient(owner), "owner")
    tenants.publish(session, events.TenantCreated, row)
    users.publish(session, events.UserCreated, owner)
    locations.publish(session, events.LocationCreated, location)
    created = CreatedTenant(
        **tenants.view(row).model_dump(),
        owner=users.view(owner),
        default_location=locations.view(location),
        **invitation.shown,
    )
    audit.record(session, actor, "tenant.created", tenant_id, after=created, tenant_id=tenant_id)
    return created


def _new_row(tenant_id: str, owner_id: str, body: TenantIn, test: bool, now: datetime) -> TenantRow:
    return TenantRow(
        tenant_id=tenant_id,
        version=1,
        name=body.name,
        name_key=rows.unique_key(body.name),
        country=body.country,
        timezone=body.timezone,
        currency=body.currency,
        status="active",
        test=test,
        trial_days=body.trial_days,
        job_review=body.job_review,
        reveal="step_up",
        second_factor="optional",
        notices_off=[],
        owner_id=owner_id,
        created_at=now,
        updated_at=now,
    )
