"""The menu: its places in order. A place is shown where a page has taken it, to whoever may open that page."""

from dataclasses import dataclass

from console.i18n import mark


@dataclass(frozen=True, slots=True)
class Place:
    """One entry."""

    key: str
    label: str
    icon: str


@dataclass(frozen=True, slots=True)
class Section:
    """Entries under a heading; without one they stand alone."""

    label: str
    places: tuple[Place, ...]


MENU = (
    Section(
        "",
        (
            Place("home", mark("Home"), "house"),
            Place("jobs", mark("Jobs"), "package"),
            Place("job-imports", mark("Imports"), "file-up"),
        ),
    ),
    Section(
        mark("Organization"),
        (
            Place("merchants", mark("Merchants"), "store"),
            Place("locations", mark("Locations"), "map-pin"),
        ),
    ),
    Section(
        mark("Integrations"),
        (
            Place("api-settings", mark("API"), "key-round"),
            Place("webhooks", mark("Webhooks"), "webhook"),
            Place("deliveries", mark("Deliveries"), "send"),
            Place("event-types", mark("Event types"), "braces"),
        ),
    ),
    Section(
        "",
        (Place("reports", mark("Reports"), "chart-column"),),
    ),
    Section(
        mark("Settings"),
        (
            Place("staff", mark("Staff Accounts"), "users"),
            Place("api-keys", mark("API keys"), "square-terminal"),
            Place("audit", mark("Audit"), "scroll-text"),
            Place("company", mark("Company"), "building-2"),
            Place("billing", mark("Billing"), "credit-card"),
        ),
    ),
    Section(
        mark("Operator"),
        (Place("operator", mark("Tenants"), "shield"),),
    ),
)
