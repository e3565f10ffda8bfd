"""Tenants: read, updated, suspended, activated, and locked while something in them changes. `onboarding` creates them."""

from identity.tenants.operations import (
    activate,
    close,
    publish,
    publish_ownership,
    publish_update,
    purge,
    suspend,
    update,
    update_own,
)
from identity.tenants.queries import (
    get,
    get_mail_settings,
    get_own,
    get_reveal_mode,
    get_session_policy,
    is_purged,
    list_busiest,
    list_tenants,
    lock_own,
    lock_reveal_mode,
    require_free_name,
    view,
)
from identity.tenants.rules import NOTICES, MailSettings, RevealMode, SecondFactor, SessionPolicy
from identity.tenants.schemas import JOB_REVIEW_DESCRIPTION, Tenant
from identity.tenants.tables import TenantRow

__all__ = [
    "JOB_REVIEW_DESCRIPTION",
    "NOTICES",
    "MailSettings",
    "RevealMode",
    "SecondFactor",
    "SessionPolicy",
    "Tenant",
    "TenantRow",
    "activate",
    "close",
    "get",
    "get_mail_settings",
    "get_own",
    "get_reveal_mode",
    "get_session_policy",
    "is_purged",
    "list_busiest",
    "list_tenants",
    "lock_own",
    "lock_reveal_mode",
    "publish",
    "publish_ownership",
    "publish_update",
    "purge",
    "require_free_name",
    "suspend",
    "update",
    "update_own",
    "view",
]
