"""The route of notifications."""

from typing import Annotated

from fastapi import Path, Request

from billing import notifications
from billing.notifications.schemas import ProviderNotification
from billing.providers import PaymentProvider
from shared.api import Router, Transaction, body, public

NAME_LENGTH_MAX = 40
BODY_BYTES_MAX = 64 * 1024


def router(provider: PaymentProvider | None) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.post("/v1/billing/providers/{provider_name}/notifications", status_code=204)
    @public()
    @body(bytes_max=BODY_BYTES_MAX)
    async def receive_notification(
        provider_name: Annotated[str, Path(max_length=NAME_LENGTH_MAX)],
        notification: ProviderNotification,
        request: Request,
        session: Transaction,
    ) -> None:
        """Tell, as the payment provider, that something has changed. It is asked what; the signature says that it is the provider."""
        await notifications.receive(session, provider, provider_name, await request.body(), request.headers)

    return routes
