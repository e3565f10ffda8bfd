"""Invitations in the API."""

from datetime import datetime

from pydantic import Field as ApiField

from shared.api import Secret


class WithInvitation(Secret):
    """A record of a person, with the invitation that this answer alone shows."""

    invitation_token: str | None = ApiField(
        description="With it the person sets a password; it is not shown again. "
        "Null when there is nothing to accept, or when it was sent by mail."
    )
    invitation_id: str | None = ApiField(
        description="The invitation, to send it again or to withdraw it.", examples=["ivt_01h455vb4pex5vsknk084sn02q"]
    )
    invitation_expires_at: datetime | None

    @property
    def no_store(self) -> bool:
        return self.invitation_token is not None


class WithEmailChange(WithInvitation):
    """A record of a person after a change. An invitation to the former address has ended: there is a new one."""

    pending_email: str | None = ApiField(
        description="The address that takes the place of the present one once the person has answered the mail to it.",
        examples=["ada.lovelace@example.com"],
    )
    pending_email_expires_at: datetime | None = ApiField(description="Until when that mail can be answered.")
