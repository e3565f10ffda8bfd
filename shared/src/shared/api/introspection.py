"""The routes about the caller that every service has: `GET /v1/auth/test` and `GET /v1/permissions`."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access import authorization, permissions
from shared.access.principals import Via
from shared.api.declarations import authenticated
from shared.api.dependencies import CurrentCaller
from shared.api.routes import Router
from shared.api.schemas import shown_as

TAGS = {"access": "Who the caller is, and what it may do."}


PrincipalKind = Literal["platform", "owner", "staff", "merchant"]
SubscriptionStatus = Literal["trialing", "incomplete", "active", "past_due", "unpaid", "canceled", "expired"]
RowScope = Literal["own", "tenant"]
ENUMS = {
    "PrincipalKind": PrincipalKind,
    "CredentialKind": Via,
    "SubscriptionStatus": SubscriptionStatus,
    "RowScope": RowScope,
}
"""The closed sets of values of all services, by their names in OpenAPI."""


class Identification(BaseModel):
    """Who a credential belongs to."""

    object: Literal["identification"] = "identification"
    principal: PrincipalKind = Field(description="Who the caller is.", examples=["merchant"])
    credential: Via = Field(description="What the caller presented; `pair`: API credentials.", examples=["pair"])
    subject_id: str | None = Field(
        description="The user or merchant; null for the platform.", examples=["mer_01h455vb4pex5vsknk084sn02q"]
    )
    tenant_id: str | None = Field(
        description="The tenant in which the caller acts; null for a platform key that names none.",
        examples=["ten_01h455vb4pex5vsknk084sn02q"],
    )
    tenant_name: str | None = Field(description="Name of the tenant.", examples=["Livraisons Laurier"])
    api_account_id: str | None = Field(
        description="The API Account ID that was presented.", examples=["acct_01h455vb4pex5vsknk084sn02q"]
    )
    livemode: bool = Field(description="Whether the credential is for live data.", examples=[True])


class SubscriptionStanding(BaseModel):
    """Whether the tenant may use the API."""

    status: Annotated[str, shown_as(SubscriptionStatus)] | None = Field(
        description="Null while it is not known.", examples=["trialing"]
    )
    trial_ends_at: datetime | None = Field(description="First instant after the trial.")
    entitled: bool = Field(description="Whether the tenant may use the API now.", examples=[True])


class Permissions(BaseModel):
    """What a caller may do."""

    object: Literal["permissions"] = "permissions"
    principal: PrincipalKind = Field(description="Who the caller is.", examples=["staff"])
    is_owner: bool = Field(description="Whether the caller owns the tenant.", examples=[False])
    permissions: dict[str, bool] = Field(
        description="The seven sections, and whether the caller has them.",
        examples=[{"orders": True, "reports": False}],
    )
    scopes: list[str] = Field(
        description="Every code that is held, sections and children.", examples=[["orders", "orders.jobs.read"]]
    )
    row_scope: RowScope = Field(description="`tenant`: all rows of the tenant; `own`: the caller's own.")
    api_access: bool | None = Field(
        description="Merchants: whether API access is on; null for others.", examples=[None]
    )
    subscription: SubscriptionStanding | None = Field(description="Null for a platform key that names no tenant.")


def router() -> Router:
    """The routes, for a service to include."""
    routes = Router(tags=["access"])

    @routes.get("/v1/auth/test")
    @authenticated(api_credentials=True, merchant_session=True, exempt_from_402=True, open_before_enrolment=True)
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
    @authenticated(api_credentials=True, merchant_session=True, exempt_from_402=True, open_before_enrolment=True)
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
