"""Which changes of a tenant are refused, and what its settings can be."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.errors import Conflict

RevealMode = Literal["step_up", "once", "off"]
SecondFactor = Literal["optional", "required"]
NOTICES = (
    "key_revealed",
    "key_rotated",
    "new_sign_in",
    "trial_will_end",
    "trial_ended",
    "payment_failed",
    "endpoint_warned",
    "endpoint_disabled",
    "invoice",
)
"""The mails that a tenant can switch off."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What decides about the sessions of a tenant, as its row says. A lifetime of None is as long as the operator allows."""

    status: str
    token_seconds: int | None
    session_days: int | None
    second_factor: SecondFactor
    notices_off: frozenset[str]

    def token_life(self, longest: timedelta) -> timedelta:
        """The life of a session token."""
        return longest if self.token_seconds is None else min(longest, timedelta(seconds=self.token_seconds))

    def session_life(self, longest: timedelta) -> timedelta:
        """The life of a session."""
        return longest if self.session_days is None else min(longest, timedelta(days=self.session_days))

    def asks_for_second_factor(self, *, administrator: bool) -> bool:
        """Whether a person of the tenant needs a second factor: administrators, where it is required."""
        return administrator and self.second_factor == "required"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """What mails to the people of a tenant need of it; one that is not active has all notices off."""

    name: str
    time_zone: str
    notices_off: frozenset[str]

    def wants(self, kind: str) -> bool:
        """Whether mails of this kind are sent."""
        return kind not in self.notices_off


class TenantClosed(Conflict):
    """A closed tenant stays closed."""

    code = "tenant_closed"


def check_not_closed(status: str) -> None:
    """Raises `TenantClosed`."""
    if status == "closed":
        raise TenantClosed("a closed tenant stays as it is", current_status=status)


def check_status_change(current: str, requested: str) -> None:
    """Raises `TenantClosed`."""
    if current == "closed":
        raise TenantClosed("a closed tenant stays closed", current_status=current, requested=requested)
