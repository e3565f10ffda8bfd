"""How long an invitation is valid."""

from datetime import timedelta

INVITATION_LIFE = timedelta(days=7)
