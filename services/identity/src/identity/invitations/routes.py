"""Routes of invitations."""

from identity import invitations
from identity.authentication import Authenticator
from identity.invitations import rules
from identity.invitations.schemas import AcceptedInvitation, Invitation, InvitationIn, SentInvitation
from shared.api import CurrentActor, Page, PageRequest, Reading, RequestOrigin, Router, Transaction, public, requires
from shared.ids import InvitationId


def router(authenticator: Authenticator) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["invitations"])

    @routes.post("/v1/invitations/accept")
    @public()
    async def accept_invitation(body: InvitationIn, origin: RequestOrigin) -> AcceptedInvitation:
        """Set the first password with an invitation token."""
        return await invitations.accept(authenticator, origin, body)

    @routes.get("/v1/invitations")
    @requires(rules.STAFF, or_else=rules.MERCHANTS)
    async def list_invitations(session: Reading, actor: CurrentActor, paging: PageRequest) -> Page[Invitation]:
        """List people who were invited and have no password yet: staff and merchants, as far as you manage them."""
        return await invitations.list_invitations(session, actor, paging)

    @routes.post("/v1/invitations/{invitation_id}/resend")
    @requires(rules.STAFF, or_else=rules.MERCHANTS)
    async def resend_invitation(
        invitation_id: InvitationId, session: Transaction, actor: CurrentActor
    ) -> SentInvitation:
        """Send an invitation again, with a new token; the one of before is dead."""
        return await invitations.resend(session, actor, invitation_id)

    @routes.delete("/v1/invitations/{invitation_id}", status_code=204)
    @requires(rules.STAFF, or_else=rules.MERCHANTS)
    async def withdraw_invitation(invitation_id: InvitationId, session: Transaction, actor: CurrentActor) -> None:
        """Withdraw an invitation: its token is dead until it is sent again."""
        await invitations.withdraw(session, actor, invitation_id)

    return routes
