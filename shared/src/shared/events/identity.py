"""Identity publishes on `identity.events.v1` (kept for ever: any projection can be rebuilt from offset 0)."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events import Event, State

TOPIC = "identity.events.v1"
SOURCE = "waybill/identity"


class TenantState(State):
    tenant_id: str
    name: str
    status: str
    """active | suspended | closed"""
    country: str
    timezone: str
    currency: str
    test: bool
    """A test tenant: everything that it creates has `livemode: false`."""
    trial_days: int | None = None
    """Length of the trial; null: billing's default."""
    job_review: bool = False
    """Whether new jobs of merchants wait in `staging` until dispatch accepts them."""
    owner_id: str


class LocationState(State):
    location_id: str
    tenant_id: str
    type: str
    name: str
    reference_id: str | None = None
    timezone: str
    active: bool
    is_default: bool


class DigestState(State):
    """One digest of a credential: an HMAC with a pepper that no event carries, so it is no secret."""

    digest: str
    """Hexadecimal."""
    pepper_version: int
    valid_until: datetime | None = None
    """Null: as long as the credential itself."""


class PairState(State):
    """A merchant's API Account ID with the digests of its API Auth Keys."""

    account_id: str
    livemode: bool
    digests: list[DigestState]


class MerchantState(State):
    merchant_id: str
    tenant_id: str
    business_name: str
    level: int
    status: str
    """active | disabled"""
    api_access: bool
    location_ids: list[str]
    default_location_id: str | None = None
    reference_id: str | None = None
    sessions_valid_from: datetime
    """Session tokens issued before this instant are refused."""
    pair: PairState | None = None
    """The latest API credentials, also after access ended; they are valid only while `api_access` is true."""


class UserState(State):
    user_id: str
    tenant_id: str
    kind: str
    """owner | staff"""
    status: str
    """invited | active | disabled"""
    permissions: list[str]
    """Stored codes. An owner has all permissions, whatever is stored."""
    sessions_valid_from: datetime


class CredentialState(State):
    """An API key of a user or of the platform (a merchant's API credentials are part of the merchant)."""

    credential_id: str
    kind: str
    """user_key | platform_key"""
    tenant_id: str | None = None
    user_id: str | None = None
    name: str
    scopes: list[str]
    active: bool
    livemode: bool
    expires_at: datetime | None = None
    digests: list[DigestState]


class SubjectSessions(State):
    subject_id: str
    sessions_valid_from: datetime


class SigningKeyState(State):
    key_id: str
    algorithm: str
    public_key: str
    """Raw Ed25519 public key, base64."""
    retires_at: datetime | None = None


class IdentityEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE


class TenantEvent(IdentityEvent):
    data: TenantState


class TenantCreated(TenantEvent):
    type: Literal["tenant.created"] = "tenant.created"


class TenantUpdated(TenantEvent):
    type: Literal["tenant.updated"] = "tenant.updated"


class TenantSuspended(TenantEvent):
    type: Literal["tenant.suspended"] = "tenant.suspended"


class TenantActivated(TenantEvent):
    type: Literal["tenant.activated"] = "tenant.activated"


class TenantClosed(TenantEvent):
    type: Literal["tenant.closed"] = "tenant.closed"


class LocationEvent(IdentityEvent):
    data: LocationState


class LocationCreated(LocationEvent):
    type: Literal["location.created"] = "location.created"


class LocationUpdated(LocationEvent):
    type: Literal["location.updated"] = "location.updated"


class LocationActivated(LocationEvent):
    type: Literal["location.activated"] = "location.activated"


class LocationDeactivated(LocationEvent):
    type: Literal["location.deactivated"] = "location.deactivated"


class MerchantEvent(IdentityEvent):
    data: MerchantState


class MerchantCreated(MerchantEvent):
    type: Literal["merchant.created"] = "merchant.created"


class MerchantUpdated(MerchantEvent):
    type: Literal["merchant.updated"] = "merchant.updated"


class MerchantLevelChanged(MerchantEvent):
    type: Literal["merchant.level_changed"] = "merchant.level_changed"


class MerchantDisabled(MerchantEvent):
    type: Literal["merchant.disabled"] = "merchant.disabled"


class MerchantEnabled(MerchantEvent):
    type: Literal["merchant.enabled"] = "merchant.enabled"


class ApiAccessGranted(MerchantEvent):
    type: Literal["api_access.granted"] = "api_access.granted"


class ApiAccessRevoked(MerchantEvent):
    type: Literal["api_access.revoked"] = "api_access.revoked"


class CredentialRevealed(MerchantEvent):
    """A merchant revealed its own API Auth Key."""

    type: Literal["credential.revealed"] = "credential.revealed"


class CredentialRotated(MerchantEvent):
    """A merchant's API credentials have a new API Auth Key; the former one may stay valid for an overlap."""

    type: Literal["credential.rotated"] = "credential.rotated"


class KeyEvent(IdentityEvent):
    data: CredentialState


class CredentialIssued(KeyEvent):
    type: Literal["credential.issued"] = "credential.issued"


class CredentialRevoked(KeyEvent):
    type: Literal["credential.revoked"] = "credential.revoked"


class UserEvent(IdentityEvent):
    data: UserState


class UserCreated(UserEvent):
    type: Literal["user.created"] = "user.created"


class UserUpdated(UserEvent):
    type: Literal["user.updated"] = "user.updated"


class UserPermissionsChanged(UserEvent):
    type: Literal["user.permissions_changed"] = "user.permissions_changed"


class UserDisabled(UserEvent):
    type: Literal["user.disabled"] = "user.disabled"


class SessionRevoked(IdentityEvent):
    """The valid tokens of one subject end. The instant only grows, so this event needs no order."""

    type: Literal["session.revoked"] = "session.revoked"
    data: SubjectSessions


class SigningKeyPublished(IdentityEvent):
    type: Literal["signing_key.published"] = "signing_key.published"
    data: SigningKeyState


ACCESS_EVENTS: tuple[type[IdentityEvent], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantSuspended,
    TenantActivated,
    TenantClosed,
    LocationCreated,
    LocationUpdated,
    LocationActivated,
    LocationDeactivated,
    MerchantCreated,
    MerchantUpdated,
    MerchantLevelChanged,
    MerchantDisabled,
    MerchantEnabled,
    ApiAccessGranted,
    ApiAccessRevoked,
    CredentialRevealed,
    CredentialRotated,
    CredentialIssued,
    CredentialRevoked,
    UserCreated,
    UserUpdated,
    UserPermissionsChanged,
    UserDisabled,
    SessionRevoked,
    SigningKeyPublished,
)
"""What every service applies to decide who may call, and what of a tenant's rows a caller may see."""
EVENTS: tuple[type[Event], ...] = ACCESS_EVENTS
