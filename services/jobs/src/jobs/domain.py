"""Rules of jobs, pure: how a status may move, where a merchant's job may be placed, and the code lists that input is held to."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from shared.errors import Conflict, Invalid, Violation

JobType = Literal["delivery", "return", "pickup", "installation", "service", "exchange", "custom"]
JobStatus = Literal[
    "staging",
    "new",
    "in_progress",
    "completed",
    "partially_completed",
    "incomplete",
    "damaged",
    "resolved",
    "cancelled",
]
ActionStatus = Literal["undetermined", "completed", "incomplete", "damaged"]

_TRANSITIONS: Mapping[JobStatus, tuple[JobStatus, ...]] = MappingProxyType(
    {
        "staging": ("new", "cancelled"),
        "new": ("in_progress", "cancelled"),
        # partially_completed is derived from the actions' outcomes: nobody asks for it.
        "in_progress": ("completed", "incomplete", "damaged", "cancelled"),
        "completed": (),
        "partially_completed": ("resolved",),
        "incomplete": ("resolved",),
        "damaged": ("resolved",),
        "resolved": (),
        "cancelled": (),
    }
)


class LocationsNotAllowed(Invalid):
    """The job cannot be placed where it was asked to be."""


class MerchantInactive(Conflict):
    """The merchant is disabled, so nothing can be ordered for it."""

    def __init__(self, merchant_id: str):
        super().__init__("this merchant is disabled", code="merchant_inactive", merchant_id=merchant_id)


class ReferenceTaken(Conflict):
    """The merchant already has a job with this reference."""

    def __init__(self, reference_id: str, existing_id: str):
        super().__init__(
            f"a job with the reference_id {reference_id!r} exists", code="reference_id_taken", existing_id=existing_id
        )


@dataclass(frozen=True, slots=True)
class Merchant:
    """What placing a job needs to know of the merchant it is for."""

    id: str
    active: bool
    location_ids: tuple[str, ...]
    default_location_id: str | None


def allowed_transitions(status: JobStatus) -> list[JobStatus]:
    """The statuses that a job can be moved to from this one."""
    return list(_TRANSITIONS[status])


def location_for(merchant: Merchant, location_id: str | None, distribution_location_id: str | None) -> str:
    """The location of a job for which these were asked: the merchant's default when none was.

    Raises `LocationsNotAllowed` with all that is wrong: location_required, location_not_yours.
    """
    chosen = location_id or merchant.default_location_id
    violations = []
    if chosen is None:
        message = "name a location: this merchant has no default"
        violations.append(Violation("/location_id", "location_required", message))
    for pointer, asked in (("/location_id", chosen), ("/distribution_location_id", distribution_location_id)):
        if asked is not None and asked not in merchant.location_ids:
            violations.append(Violation(pointer, "location_not_yours", "this is not one of the merchant's locations"))
    if violations or chosen is None:
        raise _not_allowed(*violations)
    return chosen


def inactive(
    location_id: str, distribution_location_id: str | None, active: Mapping[str, bool]
) -> LocationsNotAllowed | None:
    """What to say when a location that the job was to have is not active; None when all of them are."""
    pairs = (("/location_id", location_id), ("/distribution_location_id", distribution_location_id))
    violations = [
        Violation(pointer, "location_inactive", "this location is not active")
        for pointer, asked in pairs
        if asked is not None and not active[asked]
    ]
    return _not_allowed(*violations) if violations else None


def _not_allowed(*violations: Violation) -> LocationsNotAllowed:
    return LocationsNotAllowed("the job cannot be placed there: see errors", *violations)


_CURRENCIES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE "
    "CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY "
    "KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
CURRENCIES = frozenset(_CURRENCIES.split())
"""ISO 4217: the currencies that people pay with (no metals, funds or test codes)."""

_COUNTRIES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH "
    "CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN "
    "GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI "
    "LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM "
    "PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD "
    "TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_COUNTRIES.split())
"""ISO 3166-1 alpha-2."""
