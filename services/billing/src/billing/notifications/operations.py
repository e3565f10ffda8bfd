"""Makes due at once what a notification tells of: its provider is then asked, as it would have been a little later.

So a notification may come twice, late, out of order or not at all.
"""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from billing import checkout, payments
from billing.checkout import CHECKOUT
from billing.providers import NotificationRefused, PaymentProvider
from billing.subscriptions import CHARGE
from shared import tasks
from shared.errors import BadRequest, NotFound
from shared.tasks import NewTask


async def receive(
    session: AsyncSession, provider: PaymentProvider | None, name: str, body: bytes, headers: Mapping[str, str]
) -> None:
    """Look at what the provider tells of. Raises `NotFound` (no such provider here), `BadRequest` (not its signature)."""
    if provider is None or provider.name != name:
        raise NotFound("no such payment provider here", code="payment_provider_not_found")
    try:
        told = provider.read_notification(body, headers)
    except NotificationRefused as refusal:
        raise BadRequest(
            "this notification is not signed by the payment provider", code="notification_refused"
        ) from refusal
    if told.setup is not None and (open_id := await checkout.find_open(session, name, told.setup)) is not None:
        await tasks.schedule(session, [NewTask(CHECKOUT, open_id)])
    if told.charge is not None and (attempt_id := await payments.find_under_way(session, told.charge)) is not None:
        await tasks.schedule(session, [NewTask(CHARGE, attempt_id)])
