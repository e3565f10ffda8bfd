"""How long an invitation lasts."""

from datetime import timedelta

INVITATION_LIFE = timedelta(days=7)
