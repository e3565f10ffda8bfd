"""The routes about the caller that every service has: `GET /v1/auth/test` and `GET /v1/permissions`."""

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from shared.access import authorization, permissions
from shared.api.declarations import authenticated
from shared.api.dependencies import CurrentCaller
from shared.api.routes import Router

TAGS = {"access": "Who the caller is, and what it may do."}


class Identification(BaseModel):
    """Who a credential belongs to."""

    object: str = "identification"
    principal: str = Field(description="platform, owner, staff or merchant.")
    credential: str = Field(description="session, merchant_session, user_key, platform_key or pair.")
    subject_id: str | None = Field(description="The user or merchant; null for the platform.")
    tenant_id: str | None
    tenant_name: str | None
    api_account_id: str | None = Field(description="The API Account ID that was presented.")
    livemode: bool


class SubscriptionStanding(BaseModel):
    """Whether the tenant may use the API."""

    status: str | None
    trial_ends_at: datetime | None
    entitled: bool


class Permissions(BaseModel):
    """What a caller may do."""

    object: str = "permissions"
    principal: str
    is_owner: bool
    permissions: dict[str, bool] = Field(description="The seven sections.")
    scopes: list[str] = Field(description="Every code that is held, sections and children.")
    row_scope: str = Field(description="`tenant`: all rows of the tenant; `own`: the caller's own.")
    api_access: bool | None = Field(description="Merchants: whether API access is on; null for others.")
    subscription: SubscriptionStanding | None


def router() -> Router:
    """The routes, for a service to include."""
    routes = Router(tags=["access"])

    @routes.get("/v1/auth/test")
    @authenticated(api_credentials=True, merchant_session=True, exempt_from_402=True)
    async def test_authentication(caller: CurrentCaller) -> Identification:
        """Who am I?"""
        return Identification(
            principal=caller.kind,
            credential=caller.via,
            subject_id=caller.subject_id,
            tenant_id=caller.tenant_id_or_none,
            tenant_name=caller.principal.tenant_name,
            api_account_id=caller.credential_id if caller.via == "pair" else None,
            livemode=caller.livemode,
        )

    @routes.get("/v1/permissions")
    @authenticated(api_credentials=True, merchant_session=True, exempt_from_402=True)
    async def get_permissions(caller: CurrentCaller) -> Permissions:
        """What may I do?"""
        principal = caller.principal
        subscription = None
        if principal.tenant_id is not None:
            entitled = authorization.is_entitled(principal, datetime.now(UTC))
            subscription = SubscriptionStanding(
                status=principal.subscription_status, trial_ends_at=principal.trial_ends_at, entitled=entitled
            )
        return Permissions(
            principal=caller.kind,
            is_owner=caller.kind == "owner",
            permissions={section: section in caller.permissions for section in permissions.SECTIONS},
            scopes=sorted(caller.permissions),
            row_scope=caller.row_scope,
            api_access=principal.api_access if caller.kind == "merchant" else None,
            subscription=subscription,
        )

    return routes
