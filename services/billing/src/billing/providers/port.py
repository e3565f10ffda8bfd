"""The port: what billing asks of a payment provider.

A charge has a key, its own for ever: a provider that is asked twice with one key charges once, and answers the same. So a charge whose
result is not known is looked up, or sent again with the same key, and never with another one.
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


class PaymentProvider(Protocol):
    """A provider. Whatever a call raises means that the result is unknown."""

    name: str

    async def charge(self, charge: Charge) -> ChargeResult:
        """Take the amount, at most once for this key."""

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        """The result of the charge with this key; None: the provider has never received it."""


Providers = Mapping[str, PaymentProvider]
"""The providers of this process, by name."""
