"""Routes of one's own e-mail address. Nothing is consumed by a GET: mail scanners follow links."""

from identity import email_changes
from identity.authentication import Authenticator
from identity.email_changes.schemas import ConfirmedEmailChange, EmailChange, EmailChangeConfirmation, EmailChangeIn
from shared.api import CurrentActor, RequestOrigin, Router, Transactions, public, session_only


def router(authenticator: Authenticator) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["sessions"])

    @routes.post("/v1/email-changes", status_code=202)
    @session_only(exempt_from_402=True)
    async def request_email_change(body: EmailChangeIn, transactions: Transactions, actor: CurrentActor) -> EmailChange:
        """Ask for another e-mail address of your own: a mail to it has to be answered first."""
        return await email_changes.request(authenticator, transactions, actor, body)

    @routes.post("/v1/email-changes/confirm")
    @public()
    async def confirm_email_change(body: EmailChangeConfirmation, origin: RequestOrigin) -> ConfirmedEmailChange:
        """Let a new e-mail address take the place of the present one, with the token from the mail; all your sessions end."""
        return await email_changes.confirm(authenticator, origin, body)

    return routes
