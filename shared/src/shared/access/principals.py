"""Values of the access decision: the principal of a credential or session, the caller, and the declaration of a route."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.errors import BadRequest

Via = Literal["session", "merchant_session", "user_key", "platform_key", "pair"]
"""The kind of credential that was presented; `pair` means API credentials. Few routes admit a merchant's session."""

ADMINISTRATION: frozenset[Via] = frozenset({"session", "user_key", "platform_key"})
EVERYONE: frozenset[Via] = frozenset({"session", "merchant_session", "user_key", "platform_key", "pair"})


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """A route's declaration: the kinds of credentials it admits, the permission it requires, whether a tenant must have paid.

    With `step_up` a person must have given the password again in this session a moment ago; keys have none to give. A session whose
    person has still to enrol a second factor opens what is `open_before_enrolment`.
    """

    kind: Literal["public", "authenticated", "requires"]
    permission: str | None = None
    admits: frozenset[Via] = ADMINISTRATION
    exempt_from_402: bool = False
    owner_only: bool = False
    """Open to the owner alone, whatever others hold."""
    or_else: str | None = None
    """Another permission that opens the route as well; it shows then only what that permission covers."""
    step_up: bool = False
    open_before_enrolment: bool = False


ANY_ROUTE = RouteAccess("authenticated")
"""The declaration of a caller that no route has admitted yet."""


@dataclass(frozen=True, slots=True)
class Principal:
    """What the projection holds of a credential or session: itself, its subject, its tenant and the tenant's subscription."""

    credential_id: str | None = None
    credential_kind: str | None = None
    credential_active: bool = True
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    livemode: bool = True
    digests: tuple[tuple[str, int, datetime | None], ...] = ()
    subject_id: str | None = None
    subject_kind: str | None = None
    subject_active: bool = True
    granted: tuple[str, ...] = ()
    level: int | None = None
    api_access: bool = False
    location_ids: tuple[str, ...] = ()
    default_location_id: str | None = None
    sessions_valid_from: datetime | None = None
    tenant_id: str | None = None
    tenant_name: str | None = None
    tenant_status: str | None = None
    tenant_livemode: bool | None = None
    subscription_status: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None
    plan: str | None = None
    features: Mapping[str, bool | int] = field(default_factory=dict)
    """What the plan includes: a feature that is on or off, or a limit."""
    clock_offset: timedelta = timedelta()
    """How far the tenant's test clock is ahead of the time."""

    def limit(self, feature: str) -> int | None:
        """How much of this the tenant's plan includes; None: the plan does not say."""
        included = self.features.get(feature)
        return None if included is None or isinstance(included, bool) else included


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """The credentials in a request's headers, not checked yet."""

    authorization: str | None = None
    api_key: str | None = None
    tenant_id: str | None = None
    tenant_name: str | None = None
    path_tenant_id: str | None = None
    """The tenant that the path names, on routes of the platform."""
    on_verified: Callable[[Principal], None] = lambda _: None
    """Is told whose valid key was presented, whether or not the caller is let in."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    kind: Literal["platform", "owner", "staff", "merchant"]
    via: Via
    principal: Principal
    permissions: frozenset[str]
    livemode: bool
    session_id: str | None = None
    key_digests: tuple[str, ...] = ()
    """What the key that was presented is stored as, and what it may be stored as next; none in a session."""
    token_issued_at: datetime | None = None
    """When the session token that was presented was issued; None with a key."""
    stepped_up_at: datetime | None = None
    """When the person last gave the password again in this session; None: never, or with a key."""
    enrolment_only: bool = False
    """Whether this session can only enrol a second factor."""
    route: RouteAccess = ANY_ROUTE
    """The declaration of the route that admitted the caller."""

    @property
    def tenant_id(self) -> str:
        """The tenant. Raises `BadRequest` when a platform key named none."""
        if self.principal.tenant_id is None:
            raise BadRequest("name the tenant in X-Tenant-Id or X-Tenant-Name", code="tenant_required")
        return self.principal.tenant_id

    @property
    def tenant_id_or_none(self) -> str | None:
        return self.principal.tenant_id

    @property
    def subject_id(self) -> str | None:
        """The user or merchant; None for the platform."""
        return self.principal.subject_id

    @property
    def credential_id(self) -> str | None:
        """The API Account ID or API key; None in a session."""
        return self.principal.credential_id

    @property
    def uses_former_key(self) -> bool:
        """Whether the key that was presented has been replaced, and is valid only for the overlap."""
        return any(
            digest in self.key_digests and valid_until is not None for digest, _, valid_until in self.principal.digests
        )

    @property
    def actor(self) -> str:
        """The id in audit events: the person or merchant, else the key."""
        return self.principal.subject_id or self.principal.credential_id or "unknown"

    @property
    def row_scope(self) -> Literal["own", "tenant"]:
        """Merchants see only their own rows, others all rows of the tenant."""
        return "own" if self.kind == "merchant" else "tenant"

    def may(self, code: str) -> bool:
        return code in self.permissions
