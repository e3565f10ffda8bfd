"""Routes of sessions, invitations and passwords. Operations that check or set a password open their own transactions."""

from identity import authentication, sessions
from identity.authentication import Authenticator
from identity.authentication.schemas import (
    PasswordIn,
    RefreshIn,
    Session,
    SessionIn,
    StepUp,
    StepUpIn,
)
from identity.sessions import OpenSession
from shared.api import (
    CurrentActor,
    Page,
    PageRequest,
    Reading,
    RequestOrigin,
    Router,
    Transaction,
    Transactions,
    also_answers,
    public,
    session_only,
)
from shared.ids import SessionId

REVOKES = also_answers(204, "Revocation-Id")


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

    @routes.get("/v1/sessions")
    @session_only(exempt_from_402=True)
    async def list_sessions(session: Reading, actor: CurrentActor, paging: PageRequest) -> Page[OpenSession]:
        """List your open sessions: where, when, last seen."""
        return await sessions.list_open(session, actor, paging)

    @routes.delete("/v1/sessions", status_code=204, responses=REVOKES)
    @session_only(exempt_from_402=True, open_before_enrolment=True)
    async def delete_sessions(session: Transaction, actor: CurrentActor) -> None:
        """Log out everywhere: all your sessions end, this one included."""
        await authentication.log_out_everywhere(session, actor)

    @routes.delete("/v1/sessions/current", status_code=204, responses=REVOKES)
    @session_only(exempt_from_402=True, open_before_enrolment=True)
    async def delete_current_session(session: Transaction, actor: CurrentActor) -> None:
        """Log out."""
        await authentication.log_out(session, actor)

    @routes.delete("/v1/sessions/{session_id}", status_code=204, responses=REVOKES)
    @session_only(exempt_from_402=True)
    async def delete_session(session_id: SessionId, session: Transaction, actor: CurrentActor) -> None:
        """End one of your sessions. Your tokens of before are refused in every service; your other sessions renew theirs."""
        await authentication.end_session(session, actor, session_id)

    @routes.post("/v1/auth/step-up")
    @session_only(exempt_from_402=True, open_before_enrolment=True)
    async def step_up(body: StepUpIn, transactions: Transactions, actor: CurrentActor) -> StepUp:
        """Give your password again, for what asks for it: for five minutes, in this session."""
        return await authentication.step_up(authenticator, transactions, actor, body)

    @routes.post("/v1/password", responses=also_answers(200, "Revocation-Id"))
    @session_only()
    async def change_password(body: PasswordIn, transactions: Transactions, actor: CurrentActor) -> Session:
        """Change your password; your other sessions end."""
        return await authentication.change_password(authenticator, transactions, actor, body)

    return routes
