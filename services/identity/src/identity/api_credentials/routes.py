"""Routes of API Settings: administrators see account ids, a merchant its own API credentials."""

from typing import Annotated

from fastapi import Query

from identity import api_credentials, merchants
from identity.api_credentials.schemas import ApiAccount, ApiCredentials, ApiSettings, OwnLocation, RevealIn, RotateIn
from identity.authentication import Authenticator
from identity.fields import SearchText
from identity.merchants import CredentialIssuer
from shared.api import (
    CurrentActor,
    Page,
    PageRequest,
    Reading,
    Router,
    Searching,
    Transaction,
    Transactions,
    also_answers,
    merchant_only,
    requires,
)
from shared.ids import AccountId
from shared.timestamps import Timestamp


def router(authenticator: Authenticator, issuer: CredentialIssuer, *, overlap_seconds_default: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API settings"])

    @routes.get("/v1/api-settings/accounts")
    @requires("settings.merchants.read")
    async def list_api_accounts(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        q: Annotated[SearchText, Query(description=merchants.BY_WORDS)] = None,
        unused_since: Annotated[
            Timestamp | None, Query(description="Only those that are as old and have not been used since.")
        ] = None,
    ) -> Page[ApiAccount]:
        """List the API Account IDs of merchants that have API access."""
        return await api_credentials.list_api_accounts(session, actor, paging, unused_since=unused_since, q=q)

    @routes.post(
        "/v1/api-settings/accounts/{account_id}/deactivate",
        status_code=204,
        responses=also_answers(204, "Revocation-Id"),
    )
    @requires("settings.merchants.api_access", exempt_from_402=True)
    async def deactivate_api_account(account_id: AccountId, session: Transaction, actor: CurrentActor) -> None:
        """Revoke the API access of the merchant with this API Account ID."""
        await merchants.revoke_api_access_by_account(session, actor, account_id)

    @routes.get("/v1/api-settings")
    @merchant_only()
    async def get_api_settings(session: Reading, actor: CurrentActor) -> ApiSettings:
        """Get your own API settings."""
        return await api_credentials.get_settings(session, actor)

    @routes.get("/v1/api-settings/locations")
    @merchant_only(api_credentials=True)
    async def list_own_locations(session: Reading, actor: CurrentActor, paging: PageRequest) -> Page[OwnLocation]:
        """List the locations that your jobs may name."""
        return await api_credentials.list_own_locations(session, actor, paging)

    @routes.post("/v1/api-settings/reveal")
    @merchant_only()
    async def reveal_api_credentials(body: RevealIn, transactions: Transactions, actor: CurrentActor) -> ApiCredentials:
        """Retrieve your API Account ID and API Auth Key."""
        return await api_credentials.reveal(authenticator, transactions, actor, issuer, body)

    @routes.post("/v1/api-settings/rotate", responses=also_answers(200, "Revocation-Id"))
    @merchant_only()
    async def rotate_api_credentials(body: RotateIn, transactions: Transactions, actor: CurrentActor) -> ApiCredentials:
        """Get a new API Auth Key; the former one stays valid for the overlap."""
        return await api_credentials.rotate(
            authenticator, transactions, actor, issuer, body, overlap_seconds_default=overlap_seconds_default
        )

    @routes.post("/v1/api-settings/end-overlap", status_code=204, responses=also_answers(204, "Revocation-Id"))
    @merchant_only()
    async def end_api_key_overlap(session: Transaction, actor: CurrentActor) -> None:
        """End the overlap: your former API Auth Key is refused from now on."""
        await api_credentials.end_overlap(session, actor)

    return routes
