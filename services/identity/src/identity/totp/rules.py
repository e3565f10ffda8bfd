"""Which codes fit a secret, each of them once; and recovery codes."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp

STEP_SECONDS = 30
STEPS_OFF = 1
"""Steps by which the clock of a phone may be wrong, either way."""
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_GROUP = 4


def new_secret() -> str:
    """A secret of 160 random bits, in base32."""
    return str(pyotp.random_base32())


def app_address(secret: str, *, email: str, tenant_name: str) -> str:
    """The `otpauth:` address that an authenticator app reads from a QR code."""
    return str(pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=email, issuer_name=tenant_name))


def matching_step(secret: str, code: str, now: datetime, *, last_step: int | None) -> int | None:
    """The step of time whose code this is; None if there is none, or if it, or a later one, was used already."""
    present = int(now.timestamp()) // STEP_SECONDS
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    found = None
    for step in range(present - STEPS_OFF, present + STEPS_OFF + 1):
        fits = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        if fits and (last_step is None or step > last_step):
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Codes of 80 random bits, in groups that people can copy."""
    return [_new_recovery_code() for _ in range(RECOVERY_CODES)]


def digest_recovery_code(code: str) -> bytes:
    """The digest under which a recovery code is stored; blanks, hyphens and capitals make no difference."""
    plain = code.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(plain.encode()).digest()


def _new_recovery_code() -> str:
    plain = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(plain[start : start + _GROUP] for start in range(0, len(plain), _GROUP))
