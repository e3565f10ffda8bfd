"""Opens checkout sessions, and records what became of their pages.

The provider is called before anything is written: a page that nobody has heard of takes nothing. Then its page is looked at until it has
ended, so no notification of a provider has to be believed.
"""

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from billing import payment_methods
from billing.checkout import rules
from billing.checkout.queries import view
from billing.checkout.schemas import CheckoutSession
from billing.checkout.tables import CheckoutSessionRow
from billing.providers import MethodGiven, PaymentProvider, Setup, SetupEnded, SetupResult
from shared import audit, tasks
from shared.api import Transactions
from shared.audit import Actor
from shared.ids import new_id
from shared.tasks import NewTask

CHECKOUT = "checkout"
"""The kind of task that looks at a page."""

log = structlog.get_logger(__name__)


async def open_session(
    transactions: Transactions, actor: Actor, provider: PaymentProvider | None, return_url: str
) -> CheckoutSession:
    """Open a page of the provider. Raises `PaymentsByHand` or `ProviderUnavailable`."""
    if provider is None:
        raise rules.PaymentsByHand
    checkout_session_id = new_id("chk")
    back = rules.way_back(return_url, checkout_session_id)
    try:
        page = await provider.open_setup(Setup(checkout_session_id, actor.tenant_id, back, actor.livemode))
    except Exception as error:
        log.warning("checkout_not_opened", provider=provider.name, error=repr(error))
        raise rules.ProviderUnavailable from error
    now = datetime.now(UTC)
    row = CheckoutSessionRow(
        id=checkout_session_id,
        tenant_id=actor.tenant_id,
        version=1,
        provider=provider.name,
        reference=page.reference,
        url=page.url,
        status="open",
        livemode=actor.livemode,
        created_at=now,
        expires_at=now + rules.LIFE,
        updated_at=now,
    )
    async with transactions.begin() as session:
        session.add(row)
        await tasks.schedule(session, [NewTask(CHECKOUT, row.id, now + rules.SOON)])
        audit.record(session, actor, "checkout.opened", row.id)
    return view(row)


async def record(
    session: AsyncSession, checkout_session_id: str, result: SetupResult, now: datetime
) -> timedelta | None:
    """Record what became of a page, once; returns when to look again, or None when it has ended."""
    row = await session.get_one(CheckoutSessionRow, checkout_session_id, with_for_update=True)
    if row.status != "open":
        return None
    if isinstance(result, MethodGiven):
        method = await payment_methods.give(
            session,
            row.tenant_id,
            provider=row.provider,
            reference=result.reference,
            label=result.label,
            livemode=row.livemode,
            at=now,
        )
        row.status, row.payment_method_id = "completed", method.id
        audit.record_service(session, "payment_method.added", method.id, tenant_id=row.tenant_id)
    elif isinstance(result, SetupEnded) or now >= row.expires_at:
        row.status = "expired"
    else:
        return rules.look_again(row.created_at, now)
    row.version += 1
    row.updated_at = now
    return None
