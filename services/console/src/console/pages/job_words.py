"""What jobs are called in words: statuses, types, commands, and the names of the merchants and locations that they refer to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from console.i18n import gettext as _
from console.i18n import mark
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
NAME_CALLS = ("identity GET /v1/merchants", "identity GET /v1/locations")
OWN_NAME_CALLS = ("identity GET /v1/api-settings/locations",)
"""Beside them, on pages that are for merchants, too."""
NAME_PERMISSIONS = ("settings.merchants.read", "settings.locations.read")


@dataclass(frozen=True, slots=True)
class Names:
    """Merchants and locations by id, as far as the person may see them."""

    merchants: Mapping[str, str] = field(default_factory=dict)
    locations: Mapping[str, str] = field(default_factory=dict)

    def merchant(self, merchant_id: str | None) -> str:
        return self.merchants.get(merchant_id or "", short(merchant_id))

    def location(self, location_id: str | None) -> str:
        return self.locations.get(location_id or "", short(location_id))


async def names_for(visit: Visit) -> Names:
    """The names that this person may see; without them ids are shown."""
    identity, page = visit.api.identity, {"limit": NAMES_MAX}
    if visit.standing.is_merchant:
        found = await visit.api.parts(locations=identity.get("/v1/api-settings/locations", query=page))
        return Names({str(visit.person.get("id")): str(visit.person.get("name"))}, _named(found, "locations", "name"))
    calls: dict[str, Any] = {}
    if visit.standing.holds("settings.merchants.read"):
        calls["merchants"] = identity.get("/v1/merchants", query=page)
    if visit.standing.holds("settings.locations.read"):
        calls["locations"] = identity.get("/v1/locations", query=page)
    found = await visit.api.parts(**calls)
    return Names(_named(found, "merchants", "business_name"), _named(found, "locations", "name"))


def short(record_id: str | None) -> str:
    """The end of an id, which is what tells it from others."""
    return f"…{record_id[-6:]}" if record_id else ""


def status_choices() -> list[tuple[str, str]]:
    return [(code, _(word)) for code, (word, _kind) in STATUSES.items() if code != "undetermined"]


def type_choices() -> list[tuple[str, str]]:
    return [(code, _(word)) for code, word in TYPES.items()]


def _named(found: Mapping[str, Any], part: str, name: str) -> dict[str, str]:
    if part not in found or found[part].answer is None:
        return {}
    return {one["id"]: one[name] for one in found[part].answer["data"]}
