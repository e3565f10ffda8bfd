"""Amounts are integers in the minor unit; what is not whole is a `Fraction` until an invoice rounds it once, half to even."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

AMOUNT_MAX = 1_000_000_000_000
"""Largest amount of anything, in minor units: a sum of many still fits into 64 bits."""

_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
"""ISO 4217: currencies whose minor unit is not a hundredth."""


def exponent(currency: str) -> int:
    """Decimal places of a currency: 2 for CAD, 0 for JPY, 3 for KWD."""
    return _EXPONENTS.get(currency, 2)


def major(amount: int, currency: str) -> Decimal:
    """The amount in the currency's main unit: 4900 CAD are 49.00."""
    return Decimal(amount).scaleb(-exponent(currency))


def round_half_even(numerator: int, denominator: int) -> int:
    """The whole amount that is nearest; of two that are as near, the even one."""
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))


def round_together(exact: Sequence[Fraction | int]) -> list[int]:
    """Whole amounts whose sum is the exact sum, rounded once, half to even. What is left goes to the largest remainders."""
    total = round(sum(exact))
    floors = [part.numerator // part.denominator for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (floors[place] - exact[place], place))
    for place in by_remainder[: total - sum(floors)]:
        floors[place] += 1
    return floors
