"""The settings of identity: read once, validated at start, handed down by `app`."""

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from identity.merchants import KEY_OVERLAP_SECONDS_MAX
from shared.access.signing_roots import SigningRoot, parse_roots
from shared.chassis.settings import Secret32, VersionedKeys, secret_bytes
from shared.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Identity's own settings, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="IDENTITY_")

    port: int = Field(8001, ge=1, le=65535, description="Port to listen on.")
    sealing_keys: VersionedKeys = Field(
        description="Keys that encrypt API Auth Keys and signing keys, <version>:<base64 of 32 bytes>, comma-separated."
    )
    signing_root_key: Secret32 = Field(
        description="Private root key (Ed25519), base64 of 32 bytes, which proves signing keys; WAYBILL_SIGNING_ROOTS has its public key."
    )
    session_seconds: int = Field(300, ge=10, le=3600, description="Life of a session token, in seconds.")
    refresh_days: int = Field(
        30, ge=1, le=365, description="Life of a session, in days; then its person must log in again."
    )
    signing_key_grace_seconds: float = Field(
        10, ge=0, le=600, description="Seconds from the publication of a new signing key to its first use."
    )
    argon2_memory_kib: int = Field(65536, ge=8, le=1048576, description="Memory of one argon2 password hash, in KiB.")
    argon2_time_cost: int = Field(3, ge=1, le=20, description="Passes of one argon2 password hash.")
    argon2_parallelism: int = Field(4, ge=1, le=16, description="Lanes of one argon2 password hash.")
    password_hashes_at_once: int = Field(2, ge=1, le=64, description="Password hashes computed at the same time.")
    password_hashes_waiting_max: int = Field(
        64, ge=1, le=10000, description="Password hashes that may wait; beyond, 503 with Retry-After."
    )
    account_attempts_per_minute: float = Field(
        10,
        gt=0,
        description="Wrong passwords a minute for one account from one address, and in one session; beyond, 429 with Retry-After.",
    )
    account_total_attempts_per_minute: float = Field(
        100,
        gt=0,
        description="Wrong passwords a minute for one account from all addresses together; beyond, 429 with Retry-After.",
    )
    address_attempts_per_minute: float = Field(
        100, gt=0, description="Wrong passwords a minute from one address; beyond, 429 with Retry-After."
    )
    merchants_max: int = Field(10_000, ge=1, description="Merchants of one tenant.")
    locations_max: int = Field(1_000, ge=1, description="Locations of one tenant.")
    staff_max: int = Field(1_000, ge=1, description="Users of one tenant, the owner included.")
    api_keys_max: int = Field(100, ge=1, description="Active user API keys of one tenant.")
    key_overlap_seconds_default: int = Field(
        86_400,
        ge=0,
        le=KEY_OVERLAP_SECONDS_MAX,
        description="Seconds that a rotated API Auth Key stays valid when the request names no overlap.",
    )

    @field_validator("signing_root_key")
    @classmethod
    def _is_accepted(cls, key: Secret32, info: ValidationInfo) -> Secret32:
        """Else no service would take a session token, identity itself included."""
        roots = info.data.get("signing_roots")
        if roots is not None and SigningRoot(secret_bytes(key)).public_text not in parse_roots(roots):
            raise ValueError("its public key is not in WAYBILL_SIGNING_ROOTS")
        return key
