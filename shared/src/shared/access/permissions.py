"""The permission model that every service enforces: seven sections, finer codes below them, and what each kind of principal holds.

A section implies its children; a child does not imply its section. Permissions gate kinds of records: which rows a caller sees is
decided in the service's own queries. The seven section codes are given, word for word, by the product's source documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SECTIONS = ("home", "orders", "reports", "products", "customers", "appearance", "settings")
"""The seven permissions of an account, as `GET /v1/permissions` lists them."""

DASHBOARD_ONLY = frozenset({"home", "appearance"})
"""Sections that never open an API route."""


@dataclass(frozen=True, slots=True)
class Permission:
    code: str
    description: str
    relevance: str
    """`dashboard`, `dashboard_and_api` or `platform`."""


def _section(code: str, description: str) -> Permission:
    return Permission(code, description, "dashboard" if code in DASHBOARD_ONLY else "dashboard_and_api")


def _child(code: str, description: str) -> Permission:
    return Permission(code, description, "dashboard_and_api")


CATALOG: tuple[Permission, ...] = (
    _section("home", "Access to the dashboard's home section"),
    _section("orders", "Access to jobs and actions"),
    _child("orders.jobs.read", "Read, list and search jobs"),
    _child("orders.jobs.write", "Create, change and clone jobs"),
    _child("orders.jobs.delete", "Delete and restore jobs"),
    _child("orders.jobs.cancel", "Cancel jobs"),
    _child("orders.actions.read", "Read, list and search actions"),
    _child("orders.actions.write", "Create and change actions"),
    _child("orders.actions.delete", "Delete actions"),
    _child("orders.dispatch", "Start, complete, fail and resolve jobs and record outcomes"),
    _section("reports", "Access to summaries of jobs"),
    _child("reports.read", "Read summaries of jobs"),
    _section("products", "Access to the product catalogue (reserved)"),
    _section("customers", "Access to the people whom jobs serve"),
    _child("customers.read", "Read customers"),
    _child("customers.erase", "Erase a customer's personal data"),
    _section("appearance", "Access to content and design of the store front"),
    _section("settings", "Access to the account's configuration"),
    _child("settings.locations.read", "Read locations"),
    _child("settings.locations.write", "Create and change locations"),
    _child("settings.merchants.read", "Read merchants and their API Account IDs"),
    _child("settings.merchants.write", "Create and change merchants"),
    _child("settings.merchants.api_access", "Grant and revoke merchants' API access"),
    _child("settings.staff.read", "Read staff accounts"),
    _child("settings.staff.write", "Create and change staff accounts and their permissions"),
    _child("settings.api_keys.read", "Read user API keys (never the key itself)"),
    _child("settings.api_keys.write", "Create and revoke user API keys"),
    _child("settings.webhooks.read", "Read webhook endpoints, deliveries and events"),
    _child("settings.webhooks.write", "Create and change webhook endpoints"),
    _child("settings.webhooks.replay", "Resend and replay deliveries"),
    _child("settings.audit.read", "Read the audit trail"),
    _child("settings.tenant.write", "Change the account's own settings"),
    _child("billing", "Access to plan, invoices and payments"),
    _child("billing.read", "Read the subscription and invoices"),
    _child("billing.manage", "Subscribe, change, cancel and pay"),
    Permission("platform", "Everything that a platform operator may do", "platform"),
    Permission("platform.tenants.read", "Read tenants", "platform"),
    Permission("platform.tenants.write", "Create, change, suspend and close tenants", "platform"),
    Permission("platform.billing.write", "Extend trials, grant plans and settle invoices by hand", "platform"),
)

CODES = frozenset(permission.code for permission in CATALOG)
TENANT_CODES = frozenset(permission.code for permission in CATALOG if permission.relevance != "platform")

OWNER = TENANT_CODES
"""An owner's set: computed, never stored, not reducible."""

PLATFORM = CODES
"""A platform key's ceiling: its own routes, and any permission in the tenant that it names."""

MERCHANT_API_CREDENTIALS = frozenset(
    {
        "orders.jobs.read",
        "orders.jobs.write",
        "orders.jobs.delete",
        "orders.jobs.cancel",
        "orders.actions.read",
        "orders.actions.write",
        "orders.actions.delete",
    }
)
"""A merchant's pair, on its own rows, while it is level 2 with API access."""

MERCHANT_SESSION = frozenset({"orders.jobs.read", "orders.actions.read"})
"""A merchant in its own dashboard session: its own rows, to read."""


def expand(codes: Iterable[str]) -> frozenset[str]:
    """The codes with everything below them; codes that no longer exist are dropped."""
    held = frozenset(codes)
    return frozenset(code for code in CODES if any(ancestor in held for ancestor in _with_ancestors(code)))


def unknown(codes: Iterable[str]) -> list[str]:
    """Those codes that a tenant's user cannot be given, in the order given."""
    return [code for code in codes if code not in TENANT_CODES]


def _with_ancestors(code: str) -> list[str]:
    parts = code.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]
