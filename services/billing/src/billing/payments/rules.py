"""The states of an attempt to charge."""

from typing import Literal, get_args

from shared.errors import Conflict, NotFound

ChargeState = Literal["new", "sent", "succeeded", "declined", "unknown"]
CHARGE_STATES: tuple[ChargeState, ...] = get_args(ChargeState)
UNDER_WAY: tuple[ChargeState, ...] = ("new", "sent", "unknown")
"""States in which the amount may still be taken: no other attempt begins meanwhile."""


class ChargeUnderWay(Conflict):
    """A charge of the invoice has no result yet: paying it otherwise could pay it twice."""

    code = "charge_under_way"

    def __init__(self) -> None:
        super().__init__("a charge of this invoice is under way, and its result is not known yet")


class PaymentMethodInUse(Conflict):
    """A charge of the payment method has no result yet."""

    code = "payment_method_in_use"

    def __init__(self) -> None:
        super().__init__("this payment method is being charged, and the result is not known yet")


class PaymentMethodNotFound(NotFound):
    """The tenant has no such payment method."""

    code = "payment_method_not_found"

    def __init__(self) -> None:
        super().__init__("no such payment method")
