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


class OwnershipState(State):
    """A tenant with its former and its new owner: all three change at once, so one event has them."""

    tenant: TenantState
    owner: UserState
    owner_version: int
    former_owner: UserState
    """Staff from now on."""
    former_owner_version: int


class SubjectSessions(State):
    subject_id: str
    sessions_valid_from: datetime


class SigningKeyState(State):
    key_id: str
    algorithm: str
    public_key: str
    """Raw Ed25519 public key, base64."""
    retires_at: datetime | None = None
    proof: str | None = None
    """Signature of a root key over all of this and the version, base64; without one the key does not count."""


class IdentityEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE


class TenantEvent(IdentityEvent):
    data: TenantState


class TenantCreated(TenantEvent):
    """A tenant was created."""

    type: Literal["tenant.created"] = "tenant.created"


class TenantUpdated(TenantEvent):
    """A tenant's name or settings have changed."""

    type: Literal["tenant.updated"] = "tenant.updated"


class TenantSuspended(TenantEvent):
    """A tenant was suspended: nobody of it may call any service."""

    type: Literal["tenant.suspended"] = "tenant.suspended"


class TenantActivated(TenantEvent):
    """A suspended tenant is active again."""

    type: Literal["tenant.activated"] = "tenant.activated"


class TenantClosed(TenantEvent):
    """A tenant was closed."""

    type: Literal["tenant.closed"] = "tenant.closed"


class OwnershipTransferred(IdentityEvent):
    """A tenant has another owner; the former one is staff with all permissions. Key and version are the tenant's."""

    type: Literal["tenant.ownership_transferred"] = "tenant.ownership_transferred"
    data: OwnershipState


class LocationEvent(IdentityEvent):
    data: LocationState


class LocationCreated(LocationEvent):
    """A location was created."""

    type: Literal["location.created"] = "location.created"


class LocationUpdated(LocationEvent):
    """A location has changed."""

    type: Literal["location.updated"] = "location.updated"


class LocationActivated(LocationEvent):
    """A location is in use again."""

    type: Literal["location.activated"] = "location.activated"


class LocationDeactivated(LocationEvent):
    """A location is no longer in use; its jobs stay."""

    type: Literal["location.deactivated"] = "location.deactivated"


class MerchantEvent(IdentityEvent):
    data: MerchantState


class MerchantCreated(MerchantEvent):
    """A merchant was created."""

    type: Literal["merchant.created"] = "merchant.created"


class MerchantUpdated(MerchantEvent):
    """A merchant has changed."""

    type: Literal["merchant.updated"] = "merchant.updated"


class MerchantLevelChanged(MerchantEvent):
    """A merchant has another level; API access needs level 2."""

    type: Literal["merchant.level_changed"] = "merchant.level_changed"


class MerchantDisabled(MerchantEvent):
    """A merchant was disabled: its credentials and sessions are refused."""

    type: Literal["merchant.disabled"] = "merchant.disabled"


class MerchantEnabled(MerchantEvent):
    """A disabled merchant is active again."""

    type: Literal["merchant.enabled"] = "merchant.enabled"


class ApiAccessGranted(MerchantEvent):
    """A merchant may use the API: it has an API Account ID and an API Auth Key."""

    type: Literal["api_access.granted"] = "api_access.granted"


class ApiAccessRevoked(MerchantEvent):
    """A merchant may no longer use the API."""

    type: Literal["api_access.revoked"] = "api_access.revoked"


class CredentialRevealed(MerchantEvent):
    """A merchant revealed its own API Auth Key."""

    type: Literal["credential.revealed"] = "credential.revealed"


class CredentialRotated(MerchantEvent):
    """A merchant's API credentials have a new API Auth Key; the former one may stay valid for an overlap."""

    type: Literal["credential.rotated"] = "credential.rotated"


class CredentialOverlapEnded(MerchantEvent):
    """A merchant ended the overlap: the former API Auth Key is refused."""

    type: Literal["credential.overlap_ended"] = "credential.overlap_ended"


class KeyEvent(IdentityEvent):
    data: CredentialState


class CredentialIssued(KeyEvent):
    """An API key of a user or of the platform was created, or is stored under another digest from now on."""

    type: Literal["credential.issued"] = "credential.issued"


class CredentialRevoked(KeyEvent):
    """An API key of a user or of the platform was revoked."""

    type: Literal["credential.revoked"] = "credential.revoked"


class UserEvent(IdentityEvent):
    data: UserState


class UserCreated(UserEvent):
    """A user was created: the owner of a new tenant, or staff who were invited."""

    type: Literal["user.created"] = "user.created"


class UserUpdated(UserEvent):
    """A user has changed."""

    type: Literal["user.updated"] = "user.updated"


class UserPermissionsChanged(UserEvent):
    """A user has other permissions."""

    type: Literal["user.permissions_changed"] = "user.permissions_changed"


class UserDisabled(UserEvent):
    """A user was disabled: its keys and sessions are refused."""

    type: Literal["user.disabled"] = "user.disabled"


class SessionRevoked(IdentityEvent):
    """The valid tokens of one subject end. The instant only grows, so this event needs no order."""

    type: Literal["session.revoked"] = "session.revoked"
    data: SubjectSessions


class SigningKeyPublished(IdentityEvent):
    """Session tokens are signed with this key from now on; older keys stay valid until they retire."""

    type: Literal["signing_key.published"] = "signing_key.published"
    data: SigningKeyState


ACCESS_EVENTS: tuple[type[IdentityEvent], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantSuspended,
    TenantActivated,
    TenantClosed,
    OwnershipTransferred,
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
    CredentialOverlapEnded,
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
