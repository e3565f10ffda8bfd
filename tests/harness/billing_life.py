"""A tenant's life on a database of billing without the service around it: operations alone, and workers that the test starts."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlmodel import col

from billing import payments, subscriptions, tenants
from billing.providers import ChargeResult
from billing.subscriptions import SubscriptionRow
from shared.access.principals import Caller, Principal
from shared.api import ANY_VERSION
from shared.audit import Actor, Origin
from shared.postgres.database import Database
from tests.harness.billing import ScriptedProvider
from tests.harness.people import tenant_created

OWNER = Actor(
    Caller("owner", "session", Principal(subject_id="usr_owner"), frozenset(), livemode=False),
    Origin("127.0.0.1", "req_owner"),
)


async def begin(database: Database, *, trial_days: int = 0) -> str:
    """A test tenant with a trial; returns its id."""
    created = tenant_created(trial_days=trial_days, test=True)
    async with database.transaction() as session:
        await tenants.project(session, [created])
        await subscriptions.start_trials(session, [created], default_days=14)
    return created.subject


async def buy(database: Database, provider: str, tenant_id: str, reference: str) -> None:
    """Buy the small plan with a new payment method of this provider, which it knows by that reference."""
    now = datetime.now(UTC)
    async with database.transaction() as session:
        await payments.add_method(
            session, tenant_id, provider=provider, reference=reference, label="", livemode=False, now=now
        )
        await subscriptions.subscribe(
            session,
            OWNER,
            tenant_id,
            ANY_VERSION,
            "starter_monthly",
            payment_method=None,
            expected_amount_due=None,
            at=now,
        )


async def buy_by_charge(database: Database, provider: ScriptedProvider, *answers: ChargeResult | Exception) -> str:
    """A tenant that has just bought; its charges are answered so. Returns its id, which is the reference of its payment method too."""
    tenant_id = await begin(database)
    provider.answer(tenant_id, *answers)
    await buy(database, provider.name, tenant_id, tenant_id)
    return tenant_id


async def status_of(database: Database, tenant_id: str, status: str) -> bool:
    """Whether the subscription has this status."""
    statement = select(col(SubscriptionRow.status)).where(col(SubscriptionRow.tenant_id) == tenant_id)
    async with database.reading() as session:
        return bool((await session.execute(statement)).scalar_one() == status)
