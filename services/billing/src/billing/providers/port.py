"""The port: what billing asks of a payment provider.

A payment method is given on a page of the provider, so that nothing of a card ever comes here. A charge has a key, its own for ever: a
provider that is asked twice with one key charges once, and answers the same. So a charge whose result is not known is looked up, or sent
again with the same key, and never with another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount to be taken by a payment method."""

    key: str
    tenant_id: str
    invoice_id: str
    method: str
    """The provider's own id of the payment method."""
    amount: int
    """In the minor unit of the currency."""
    currency: str
    livemode: bool


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The amount was taken."""

    reference: str
    """The provider's own id of the payment."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The amount was not taken, and will not be by this charge."""

    code: str
    is_final: bool = False
    """Whether the payment method will never do: another one is needed."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows yet: no answer, or a payment that is still being processed."""

    reason: str


ChargeResult = Succeeded | Declined | Unknown


@dataclass(frozen=True, slots=True)
class Setup:
    """A payment method that a person is asked for."""

    key: str
    tenant_id: str
    return_url: str
    """Where the provider's page sends the person afterwards."""
    livemode: bool


@dataclass(frozen=True, slots=True)
class HostedPage:
    """The provider's page."""

    reference: str
    """The provider's own id of it."""
    url: str


@dataclass(frozen=True, slots=True)
class MethodGiven:
    """The person has given a payment method, which can be charged from now on."""

    reference: str
    """The provider's own id of the payment method."""
    label: str
    """By which the person knows it again."""


@dataclass(frozen=True, slots=True)
class SetupOpen:
    """The page waits for the person."""


@dataclass(frozen=True, slots=True)
class SetupEnded:
    """The page has ended without a payment method."""


SetupResult = MethodGiven | SetupOpen | SetupEnded


@dataclass(frozen=True, slots=True)
class Told:
    """What a notification tells of; neither: of nothing that matters here."""

    setup: str | None = None
    """The provider's own id of a page."""
    charge: str | None = None
    """The key of a charge."""


class NotificationRefused(Exception):
    """The notification is not signed by the provider, or cannot be read."""


class Charger(Protocol):
    """What charges payment methods. Whatever a call raises means that the result is unknown."""

    name: str

    async def charge(self, charge: Charge) -> ChargeResult:
        """Take the amount, at most once for this key."""

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        """The result of the charge with this key; None: the provider has never received it."""


class PaymentProvider(Charger, Protocol):
    """A provider that also has pages on which payment methods are given."""

    async def open_setup(self, setup: Setup) -> HostedPage:
        """Open a page on which a person gives a payment method; the same one for the same key."""

    async def look_up_setup(self, reference: str) -> SetupResult:
        """What has become of a page."""

    def read_notification(self, body: bytes, headers: Mapping[str, str]) -> Told:
        """What a notification tells of. Raises `NotificationRefused` unless the provider has signed it."""

    async def close(self) -> None:
        """Close its connections."""


Providers = Mapping[str, Charger]
"""What charges in this process, by name."""
