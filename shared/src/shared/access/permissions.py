"""The permission catalogue: seven sections, their children, and the permissions of each kind of caller.

A section implies its children; a child does not imply its section. Permissions are about kinds of records; which rows a caller sees is
decided by the queries of each service. The section codes are those of the product's source documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SECTIONS = ("home", "orders", "reports", "products", "customers", "appearance", "settings")
"""The seven sections, in the order of `GET /v1/permissions`."""

DASHBOARD_ONLY = frozenset({"home", "appearance"})
"""Sections that no API route requires."""


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

ALL_SECTIONS = (*SECTIONS, "billing")
"""Codes that imply all that a user of a tenant can hold."""

CODES = frozenset(permission.code for permission in CATALOG)
TENANT_CODES = frozenset(permission.code for permission in CATALOG if permission.relevance != "platform")

OWNER = TENANT_CODES
"""Permissions of an owner: computed, never stored, never fewer."""

PLATFORM = CODES
"""The most that a platform key can have: the platform's own permissions, and any permission in the tenant that it names."""

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
"""Permissions of a merchant's API credentials, on its own rows, while it has level 2 and API access."""

MERCHANT_SESSION = frozenset({"orders.jobs.read", "orders.actions.read"})
"""Permissions of a merchant's session: it reads its own rows."""


def expand(codes: Iterable[str]) -> frozenset[str]:
    """The codes and all their children, without codes that no longer exist."""
    held = frozenset(codes)
    return frozenset(code for code in CODES if any(ancestor in held for ancestor in with_ancestors(code)))


def unknown(codes: Iterable[str]) -> list[str]:
    """The codes that no user of a tenant can have, in the given order."""
    return [code for code in codes if code not in TENANT_CODES]


def with_ancestors(code: str) -> list[str]:
    """The code and those that imply it."""
    parts = code.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]
