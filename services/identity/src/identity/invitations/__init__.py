"""Invitations: of people who have no password yet. They are sent again, withdrawn, and accepted once."""

from identity.invitations.operations import accept, resend, withdraw
from identity.invitations.queries import list_invitations

__all__ = ["accept", "list_invitations", "resend", "withdraw"]
