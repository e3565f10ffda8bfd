"""Routes of sessions, invitations and passwords. Operations that check or set a password open their own transactions."""

from identity import authentication
from identity.authentication import Authenticator
from identity.authentication.schemas import AcceptedInvitation, InvitationIn, PasswordIn, RefreshIn, Session, SessionIn
from shared.api import CurrentActor, RequestOrigin, Router, Transaction, Transactions, public, session_only


def router(authenticator: Authenticator) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["sessions"])

    @routes.post("/v1/sessions", status_code=201)
    @public()
    async def create_session(body: SessionIn, origin: RequestOrigin) -> Session:
        """Log in with e-mail address and password, as an administrator or as a merchant."""
        return await authentication.log_in(authenticator, origin, body)

    @routes.post("/v1/sessions/refresh")
    @public()
    async def refresh_session(body: RefreshIn, origin: RequestOrigin) -> Session:
        """Get the next token and refresh token of a session."""
        return await authentication.refresh(authenticator, origin, body)

    @routes.delete("/v1/sessions/current", status_code=204)
    @session_only(exempt_from_402=True)
    async def delete_current_session(session: Transaction, actor: CurrentActor) -> None:
        """Log out."""
        await authentication.log_out(session, actor)

    @routes.post("/v1/invitations/accept")
    @public()
    async def accept_invitation(body: InvitationIn, origin: RequestOrigin) -> AcceptedInvitation:
        """Set the first password with an invitation token."""
        return await authentication.accept_invitation(authenticator, origin, body)

    @routes.post("/v1/password")
    @session_only()
    async def change_password(body: PasswordIn, transactions: Transactions, actor: CurrentActor) -> Session:
        """Change your password; your other sessions end."""
        return await authentication.change_password(authenticator, transactions, actor, body)

    return routes
