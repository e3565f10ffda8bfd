"""What can be done with payment methods.

The subscription is locked first, as by everything that charges: so no charge begins with a method that is being deleted.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from billing import payments, subscriptions
from billing.payment_methods.queries import view
from billing.payment_methods.schemas import PaymentMethod
from billing.payments import PaymentMethodRow
from shared import audit
from shared.api import IfMatch
from shared.audit import Actor


async def give(
    session: AsyncSession, tenant_id: str, *, provider: str, reference: str, label: str, livemode: bool, at: datetime
) -> PaymentMethodRow:
    """Keep a payment method that a provider has confirmed: it is charged from now on, and at once for what is due."""
    await subscriptions.lock_for_update(session, tenant_id)
    row = await payments.add_method(
        session, tenant_id, provider=provider, reference=reference, label=label, livemode=livemode, now=at
    )
    await subscriptions.method_given(session, tenant_id, at)
    return row


async def make_default(
    session: AsyncSession, actor: Actor, method_id: str, if_match: IfMatch, at: datetime
) -> PaymentMethod:
    """Charge this payment method from now on, and at once for what is due. Nothing changes when it is the default already.

    Raises `PaymentMethodNotFound` or `PreconditionFailed`.
    """
    await subscriptions.lock_for_update(session, actor.tenant_id)
    row = await payments.get_method(session, actor.tenant_id, method_id)
    if_match.check(row.version)
    before = view(row)
    if row.is_default:
        return before
    await payments.make_default(session, row, at)
    await subscriptions.method_given(session, actor.tenant_id, at)
    after = view(row)
    audit.record(session, actor, "payment_method.made_default", row.id, before=before, after=after)
    return after


async def delete(session: AsyncSession, actor: Actor, method_id: str, if_match: IfMatch, at: datetime) -> None:
    """Delete a payment method; nothing changes when it is deleted already.

    No other one takes the place of the default: a person chooses which. Raises `PaymentMethodNotFound`, `PreconditionFailed` or
    `PaymentMethodInUse`.
    """
    await subscriptions.lock_for_update(session, actor.tenant_id)
    row = await payments.get_method(session, actor.tenant_id, method_id, deleted_too=True)
    if row.deleted_at is not None:
        return
    if_match.check(row.version)
    if await payments.is_in_use(session, row.id):
        raise payments.PaymentMethodInUse
    audit.record(session, actor, "payment_method.deleted", row.id, before=view(row))
    payments.delete(row, at)
