"""Routes of merchants and of granting and revoking their API access."""

from typing import Annotated

from fastapi import Query

from identity import merchants
from identity.fields import SearchText
from identity.logins import Passwords
from identity.merchants.operations import CredentialIssuer
from identity.merchants.schemas import (
    ChangedMerchant,
    CreatedMerchant,
    Merchant,
    MerchantIn,
    MerchantPatch,
    MerchantStatus,
)
from shared.api import (
    CurrentActor,
    IfMatch,
    Page,
    PageRequest,
    Reading,
    Router,
    Searching,
    Transaction,
    also_answers,
    requires,
)
from shared.fields.merge_patch import merge_patch_body
from shared.fields.numbers import QueryFlag
from shared.fields.text import REFERENCE_CHARS_MAX, QueryText
from shared.ids import MerchantId

MAY_REVOKE = also_answers(200, "Revocation-Id")
REVOKES = also_answers(204, "Revocation-Id")


def router(passwords: Passwords, issuer: CredentialIssuer, *, merchants_max: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["merchants"])

    @routes.get("/v1/merchants")
    @requires("settings.merchants.read")
    async def list_merchants(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        level: Annotated[int | None, Query(ge=1, le=2, description="Only merchants of this level.")] = None,
        status: Annotated[MerchantStatus | None, Query(description="Only merchants in this status.")] = None,
        api_access: Annotated[QueryFlag | None, Query(description="Only with API access, or only without.")] = None,
        reference_id: Annotated[
            QueryText, Query(max_length=REFERENCE_CHARS_MAX, description="Only the one with this reference.")
        ] = None,
        q: Annotated[SearchText, Query(description=merchants.BY_WORDS)] = None,
    ) -> Page[Merchant]:
        """List merchants."""
        return await merchants.list_merchants(
            session, actor, paging, level=level, status=status, api_access=api_access, reference_id=reference_id, q=q
        )

    @routes.post("/v1/merchants", status_code=201)
    @requires("settings.merchants.write")
    async def create_merchant(body: MerchantIn, session: Transaction, actor: CurrentActor) -> CreatedMerchant:
        """Create a merchant."""
        return await merchants.create(session, actor, passwords, issuer, body, merchants_max=merchants_max)

    @routes.get("/v1/merchants/{merchant_id}")
    @requires("settings.merchants.read")
    async def get_merchant(merchant_id: MerchantId, session: Reading, actor: CurrentActor) -> Merchant:
        """Get a merchant."""
        return await merchants.get(session, actor, merchant_id)

    @routes.patch("/v1/merchants/{merchant_id}", openapi_extra=merge_patch_body("MerchantPatch"), responses=MAY_REVOKE)
    @requires("settings.merchants.write")
    async def update_merchant(
        merchant_id: MerchantId, body: MerchantPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> ChangedMerchant:
        """Change a merchant."""
        return await merchants.update(session, actor, issuer, merchant_id, if_match, body)

    @routes.post("/v1/merchants/{merchant_id}/disable", responses=MAY_REVOKE)
    @requires("settings.merchants.write")
    async def disable_merchant(merchant_id: MerchantId, session: Transaction, actor: CurrentActor) -> Merchant:
        """Disable a merchant."""
        return await merchants.disable(session, actor, merchant_id)

    @routes.post("/v1/merchants/{merchant_id}/enable")
    @requires("settings.merchants.write")
    async def enable_merchant(merchant_id: MerchantId, session: Transaction, actor: CurrentActor) -> Merchant:
        """Enable a disabled merchant."""
        return await merchants.enable(session, actor, merchant_id)

    @routes.post("/v1/merchants/{merchant_id}/api-access")
    @requires("settings.merchants.api_access")
    async def grant_api_access(merchant_id: MerchantId, session: Transaction, actor: CurrentActor) -> Merchant:
        """Grant API access to a merchant of level 2."""
        return await merchants.grant_api_access(session, actor, issuer, merchant_id)

    @routes.delete("/v1/merchants/{merchant_id}/api-access", status_code=204, responses=REVOKES)
    @requires("settings.merchants.api_access", exempt_from_402=True)
    async def revoke_api_access(merchant_id: MerchantId, session: Transaction, actor: CurrentActor) -> None:
        """Revoke a merchant's API access."""
        await merchants.revoke_api_access(session, actor, merchant_id)

    return routes
