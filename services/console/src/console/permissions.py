"""The catalogue of permissions in words: seven sections and billing, and what each consists of."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from console.i18n import mark

Extent = Literal["all", "part", "none"]


@dataclass(frozen=True, slots=True)
class Right:
    """One permission."""

    code: str
    label: str


@dataclass(frozen=True, slots=True)
class Section:
    """One of the sections, which includes its parts. A section without parts is granted as a whole."""

    code: str
    label: str
    parts: tuple[Right, ...] = ()

    @property
    def codes(self) -> list[str]:
        return [self.code, *(part.code for part in self.parts)]


SECTIONS = (
    Section("home", mark("Home")),
    Section(
        "orders",
        mark("Orders"),
        (
            Right("orders.jobs.read", mark("See jobs")),
            Right("orders.jobs.write", mark("Create and change jobs")),
            Right("orders.jobs.delete", mark("Delete and restore jobs")),
            Right("orders.jobs.cancel", mark("Cancel jobs")),
            Right("orders.actions.read", mark("See actions")),
            Right("orders.actions.write", mark("Create and change actions")),
            Right("orders.actions.delete", mark("Delete actions")),
            Right("orders.dispatch", mark("Start, complete and fail jobs")),
        ),
    ),
    Section("reports", mark("Reports"), (Right("reports.read", mark("See reports")),)),
    Section("products", mark("Products")),
    Section(
        "customers",
        mark("Customers"),
        (
            Right("customers.read", mark("See customers")),
            Right("customers.erase", mark("Erase a customer’s personal data")),
        ),
    ),
    Section("appearance", mark("Appearance")),
    Section(
        "settings",
        mark("Settings"),
        (
            Right("settings.locations.read", mark("See locations")),
            Right("settings.locations.write", mark("Create and change locations")),
            Right("settings.merchants.read", mark("See merchants")),
            Right("settings.merchants.write", mark("Create and change merchants")),
            Right("settings.merchants.api_access", mark("Grant and revoke API access")),
            Right("settings.staff.read", mark("See staff accounts")),
            Right("settings.staff.write", mark("Invite staff and change permissions")),
            Right("settings.api_keys.read", mark("See API keys")),
            Right("settings.api_keys.write", mark("Create and revoke API keys")),
            Right("settings.webhooks.read", mark("See webhooks and deliveries")),
            Right("settings.webhooks.write", mark("Create and change webhooks")),
            Right("settings.webhooks.replay", mark("Resend and replay deliveries")),
            Right("settings.audit.read", mark("See the audit trail")),
            Right("settings.tenant.write", mark("Change the company’s settings")),
        ),
    ),
    Section(
        "billing",
        mark("Billing"),
        (
            Right("billing.read", mark("See the subscription and invoices")),
            Right("billing.manage", mark("Subscribe, change, cancel and pay")),
        ),
    ),
)
"""In the order of the catalogue."""

LABELS = {section.code: section.label for section in SECTIONS} | {
    part.code: part.label for section in SECTIONS for part in section.parts
}


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a section somebody has."""

    section: Section
    count: int

    @property
    def extent(self) -> Extent:
        total = max(1, len(self.section.parts))
        return "all" if self.count == total else "part" if self.count else "none"


def held(granted: Collection[str], *, is_owner: bool) -> list[Held]:
    """How much of each section somebody has who was granted these codes."""
    found = []
    for section in SECTIONS:
        has_all = is_owner or section.code in granted
        some = sum(part.code in granted for part in section.parts)
        found.append(Held(section, max(1, len(section.parts)) if has_all else some))
    return found


def expanded(granted: Collection[str]) -> set[str]:
    """The codes, with the parts of the sections among them."""
    return {code for section in SECTIONS for code in section.codes if section.code in granted or code in granted}


def plain(chosen: Iterable[str]) -> list[str]:
    """The codes to grant: a section stands for all of its parts."""
    codes = set(chosen)
    return [
        code
        for section in SECTIONS
        for code in ([section.code] if section.code in codes else section.codes)
        if code in codes
    ]


def differences(before: Collection[str], after: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What somebody gets, and what they lose, part by part."""
    had, has = expanded(before), expanded(after)
    order = list(LABELS)
    return sorted(has - had, key=order.index), sorted(had - has, key=order.index)
