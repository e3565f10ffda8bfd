"""What every service publishes on `access.usage.v1` (a day), for identity: the credentials that it has accepted lately.

Key: the service's name. It is no aggregate and has no version: of two uses of a credential the later one holds, whatever their order.
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
    """The latest request that was accepted with it."""


class CredentialUses(State):
    uses: list[CredentialUse]


class CredentialUsed(Event):
    """Credentials were accepted by a service, in requests since it last said so."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    type: Literal["credential.used"] = "credential.used"
    data: CredentialUses


EVENTS: tuple[type[Event], ...] = (CredentialUsed,)
