"""Every service publishes on `access.usage.v1` (kept for a day), for identity: credentials that it has accepted.

Key: the name of the service. There is no aggregate and no version: of two uses of a credential the later one counts, in any order.
"""

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from shared.events import Event, State

TOPIC = "access.usage.v1"
SOURCE = "waybill/access"


class CredentialUse(State):
    credential_id: str
    """API Account ID (acct_…) or the id of an API key (key_…); never a key."""
    used_at: AwareDatetime
    """When the latest request with it was accepted."""


class CredentialUses(State):
    uses: list[CredentialUse]


class CredentialUsed(Event):
    """A service accepted these credentials in requests since its last event."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    type: Literal["credential.used"] = "credential.used"
    data: CredentialUses


EVENTS: tuple[type[Event], ...] = (CredentialUsed,)
