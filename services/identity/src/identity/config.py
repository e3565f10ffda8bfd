"""The settings of identity: read once, validated at start, handed down by `app`."""

from email.headerregistry import Address
from email.utils import parseaddr
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from identity.mail import Language, MailServer
from identity.merchants import KEY_OVERLAP_SECONDS_MAX
from shared.access.signing_roots import SigningRoot, parse_roots
from shared.chassis.networks import is_here
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
    audit_days: int = Field(1825, ge=1, le=36500, description="Days for which audit events of all services are kept.")
    audit_exports_max: int = Field(
        4, ge=1, le=64, description="Streams of audit events that run at once in one process; more get 503."
    )
    audit_exports_per_tenant_max: int = Field(
        2,
        ge=1,
        le=64,
        description="Streams of audit events of one tenant that run at once in one process; more get 429.",
    )
    request_log_days: int = Field(7, ge=7, le=90, description="Days for which the request log of all services is kept.")
    closed_tenant_days: int = Field(
        90, ge=0, le=3650, description="Days after which the personal data of a closed tenant are deleted."
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
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server: smtps://user:password@host:port, smtp+starttls://… or smtp://…; none: no mail is sent.",
    )
    smtp_connections_max: int = Field(8, ge=1, le=100, description="Connections to the mail server in each process.")
    mail_sender: str = Field(
        "Waybill <no-reply@waybill.test>", description="Who mails come from: name <address>, or an address."
    )
    mail_language: Language = Field("en", description="Language of mails to people who have chosen none: en or fr.")
    console_base_url: str | None = Field(
        None,
        validate_default=True,
        description="Address of the console, https://console.example.com: links in mails begin with it. Required with a mail server.",
    )

    @field_validator("smtp_url", "console_base_url", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """Compose hands on what is not set as nothing."""
        return value or None

    @field_validator("smtp_url")
    @classmethod
    def _is_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            server = MailServer.from_url(url.get_secret_value())
            if server.password is not None and server.scheme == "smtp" and not is_here(server.hostname):
                raise ValueError("a password goes to another machine over TLS alone: smtps:// or smtp+starttls://")
        return url

    @field_validator("mail_sender")
    @classmethod
    def _is_sender(cls, text: str) -> str:
        sender_address(text)
        return text

    @field_validator("console_base_url")
    @classmethod
    def _is_base_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            if info.data.get("smtp_url") is not None:
                raise ValueError("needed where mail is sent: links in mails begin with it")
        else:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("expected an address such as https://console.example.com")
        return url

    @property
    def in_the_clear(self) -> list[str]:
        found = super().in_the_clear
        if self.smtp_url is not None:
            server = MailServer.from_url(self.smtp_url.get_secret_value())
            if server.scheme == "smtp" and not is_here(server.hostname):
                found.append("smtp_not_secured")
        return found

    @field_validator("signing_root_key")
    @classmethod
    def _is_accepted(cls, key: Secret32, info: ValidationInfo) -> Secret32:
        """Else no service would take a session token, identity itself included."""
        roots = info.data.get("signing_roots")
        if roots is not None and SigningRoot(secret_bytes(key)).public_text not in parse_roots(roots):
            raise ValueError("its public key is not in WAYBILL_SIGNING_ROOTS")
        return key


def sender_address(text: str) -> Address:
    """`Waybill <no-reply@example.com>` as an address. Raises `ValueError`."""
    name, address = parseaddr(text)
    if "@" not in address or "," in text:
        raise ValueError("expected a name and an address, such as Waybill <no-reply@example.com>")
    return Address(name, addr_spec=address)
