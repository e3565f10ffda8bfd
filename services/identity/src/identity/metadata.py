"""The metadata of all tables of identity, for migrations."""

from identity.api_keys import ApiKeyRow
from identity.audit import AuditRow
from identity.locations import LocationRow
from identity.logins import LoginRow
from identity.merchant_commands.tables import MerchantCommandRow
from identity.merchants import MerchantRow
from identity.notices import MailedEventRow
from identity.registry import Base
from identity.request_log import FailedRequestRow, RequestCountRow
from identity.revocations import AcknowledgementRow, ReplicaRow, RevocationRow
from identity.sessions import RefreshTokenRow, SessionRow
from identity.signing_keys import SigningKeyRow
from identity.tenants import TenantRow
from identity.totp import SecondFactorRow
from identity.users import UserRow
from shared.service.tables import add_base_tables

add_base_tables(Base.metadata)

__all__ = [
    "AcknowledgementRow",
    "ApiKeyRow",
    "AuditRow",
    "Base",
    "FailedRequestRow",
    "LocationRow",
    "LoginRow",
    "MailedEventRow",
    "MerchantCommandRow",
    "MerchantRow",
    "RefreshTokenRow",
    "ReplicaRow",
    "RequestCountRow",
    "RevocationRow",
    "SecondFactorRow",
    "SessionRow",
    "SigningKeyRow",
    "TenantRow",
    "UserRow",
]
