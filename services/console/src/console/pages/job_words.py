"""What jobs are called in words: statuses, types, commands, and the names of the merchants and locations that they refer to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from console.i18n import gettext as _
from console.i18n import mark
from console.tables import MERCHANT_LOOKUP, Filter
from console.visits import Visit

STATUSES: Mapping[str, tuple[str, str]] = {
    "staging": (mark("In review"), "warn"),
    "new": (mark("New"), "info"),
    "in_progress": (mark("In progress"), "info"),
    "completed": (mark("Completed"), "good"),
    "partially_completed": (mark("Partially completed"), "warn"),
    "incomplete": (mark("Incomplete"), "bad"),
    "damaged": (mark("Damaged"), "bad"),
    "resolved": (mark("Resolved"), "good"),
    "cancelled": (mark("Cancelled"), "idle"),
    "undetermined": (mark("Open"), "idle"),
}
"""Of jobs and of actions: the word, and the kind of its badge."""
TYPES: Mapping[str, str] = {
    "delivery": mark("Delivery"),
    "return": mark("Return"),
    "pickup": mark("Pickup"),
    "installation": mark("Installation"),
    "service": mark("Service"),
    "exchange": mark("Exchange"),
    "custom": mark("Other work"),
}
NAMES_MAX = 200
MERCHANTS, LOCATIONS = "/v1/directory/merchants", "/v1/directory/locations"
NAME_CALLS = (f"identity GET {MERCHANTS}", f"identity GET {LOCATIONS}")
OWN_NAME_CALLS = ("identity GET /v1/api-settings/locations",)
"""Beside them, on pages that are for merchants, too."""
NAME_PERMISSIONS = ("orders.jobs.read",)


@dataclass(frozen=True, slots=True)
class Names:
    """Merchants and locations by id, as far as the person may see them."""

    merchants: Mapping[str, str] = field(default_factory=dict)
    locations: Mapping[str, str] = field(default_factory=dict)
    are_all_merchants: bool = True
    """Whether there are no others: else one is looked for by its name."""

    def merchant(self, merchant_id: str | None) -> str:
        return self.merchants.get(merchant_id or "", short(merchant_id))

    def location(self, location_id: str | None) -> str:
        return self.locations.get(location_id or "", short(location_id))


async def names_for(visit: Visit) -> Names:
    """The names to choose from that this person may see; without them ids are shown."""
    identity, page = visit.api.identity, {"limit": NAMES_MAX}
    if visit.standing.is_merchant:
        found = await visit.api.parts(locations=identity.get("/v1/api-settings/locations", query=page))
        return Names({str(visit.person.get("id")): str(visit.person.get("name"))}, _named(found, "locations"))
    if not visit.standing.holds(*NAME_PERMISSIONS):
        return Names()
    found = await visit.api.parts(
        merchants=identity.get(MERCHANTS, query=page), locations=identity.get(LOCATIONS, query=page)
    )
    merchants = found["merchants"].answer
    more = merchants is not None and merchants["has_more"]
    return Names(_named(found, "merchants"), _named(found, "locations"), are_all_merchants=not more)


async def with_names_of(
    visit: Visit, names: Names, *, merchants: Iterable[str | None] = (), locations: Iterable[str | None] = ()
) -> Names:
    """These names, and those of records that are about to be shown."""
    if visit.standing.is_merchant or not visit.standing.holds(*NAME_PERMISSIONS):
        return names
    calls, identity = {}, visit.api.identity
    for part, path, shown, known in (
        ("merchants", MERCHANTS, merchants, names.merchants),
        ("locations", LOCATIONS, locations, names.locations),
    ):
        if unknown := sorted({one for one in shown if one and one not in known})[:NAMES_MAX]:
            calls[part] = identity.get(path, query={"id": unknown, "limit": NAMES_MAX})
    found = await visit.api.parts(**calls)
    return replace(
        names,
        merchants={**names.merchants, **_named(found, "merchants")},
        locations={**names.locations, **_named(found, "locations")},
    )


def merchant_filter(names: Names) -> list[Filter]:
    """Choose a merchant, or look for one where there are many."""
    if not names.merchants:
        return []
    kind = "text" if names.are_all_merchants else MERCHANT_LOOKUP
    return [Filter("merchant_id", _("Merchant"), list(names.merchants.items()), type=kind)]


def short(record_id: str | None) -> str:
    """The end of an id, which is what tells it from others."""
    return f"…{record_id[-6:]}" if record_id else ""


def status_choices() -> list[tuple[str, str]]:
    return [(code, _(word)) for code, (word, _kind) in STATUSES.items() if code != "undetermined"]


def type_choices() -> list[tuple[str, str]]:
    return [(code, _(word)) for code, word in TYPES.items()]


def _named(found: Mapping[str, Any], part: str) -> dict[str, str]:
    if part not in found or found[part].answer is None:
        return {}
    return {one["id"]: one["name"] for one in found[part].answer["data"]}
