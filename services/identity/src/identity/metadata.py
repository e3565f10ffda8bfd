"""The metadata of all of identity's tables, for migrations."""

from identity.models.audit import AuditRow
from identity.models.credentials import ApiKeyRow
from identity.models.locations import LocationRow
from identity.models.merchants import MerchantRow
from identity.models.registry import Base
from identity.models.sessions import LoginRow, RefreshTokenRow, SessionRow
from identity.models.signing_keys import SigningKeyRow
from identity.models.tenants import TenantRow
from identity.models.users import UserRow
from shared.service.tables import add_base_tables

add_base_tables(Base.metadata)

__all__ = [
    "ApiKeyRow",
    "AuditRow",
    "Base",
    "LocationRow",
    "LoginRow",
    "MerchantRow",
    "RefreshTokenRow",
    "SessionRow",
    "SigningKeyRow",
    "TenantRow",
    "UserRow",
]
