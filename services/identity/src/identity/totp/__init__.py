"""What is asked of people who have a second factor: a code of their authenticator app (TOTP, RFC 6238) or a recovery code, each once."""

from identity.totp.operations import delete_of_tenant, use_app_code, use_code
from identity.totp.queries import is_enrolled, lock, lock_enrolled
from identity.totp.rules import app_address, digest_recovery_code, new_recovery_codes, new_secret
from identity.totp.tables import SecondFactorRow

__all__ = [
    "SecondFactorRow",
    "app_address",
    "delete_of_tenant",
    "digest_recovery_code",
    "is_enrolled",
    "lock",
    "lock_enrolled",
    "new_recovery_codes",
    "new_secret",
    "use_app_code",
    "use_code",
]
