"""Routes of API Settings: administrators see account ids, a merchant sees its own pair."""

from identity import api_settings, merchants
from identity.api.author import CurrentAuthor
from identity.credentials import Locksmith
from identity.models.merchants import ApiAccount, ApiCredentials, ApiSettings, RevealIn, RotateIn
from identity.sessions import Sessions
from shared.api import Page, PageRequest, Reading, Router, Transaction, merchant_only, requires
from shared.ids import AccountId


def router(authenticator: Sessions, locksmith: Locksmith, *, overlap_seconds_default: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API settings"])

    @routes.get("/v1/api-settings/accounts")
    @requires("settings.merchants.read")
    async def list_api_accounts(session: Reading, author: CurrentAuthor, paging: PageRequest) -> Page[ApiAccount]:
        """List the API Account IDs of enabled merchants."""
        return await api_settings.accounts(session, author, paging)

    @routes.post("/v1/api-settings/accounts/{account_id}/deactivate", status_code=204)
    @requires("settings.merchants.api_access", exempt_from_402=True)
    async def deactivate_api_account(account_id: AccountId, session: Transaction, author: CurrentAuthor) -> None:
        """Revoke the API access of the merchant with this API Account ID."""
        await merchants.deactivate_account(session, author, account_id)

    @routes.get("/v1/api-settings")
    @merchant_only()
    async def get_api_settings(session: Reading, author: CurrentAuthor) -> ApiSettings:
        """Get your own API settings."""
        return await api_settings.get(session, author)

    @routes.post("/v1/api-settings/reveal")
    @merchant_only()
    async def reveal_api_credentials(body: RevealIn, author: CurrentAuthor) -> ApiCredentials:
        """Retrieve your API Account ID and API Auth Key."""
        return await api_settings.reveal(authenticator, author, locksmith, body)

    @routes.post("/v1/api-settings/rotate")
    @merchant_only()
    async def rotate_api_credentials(body: RotateIn, author: CurrentAuthor) -> ApiCredentials:
        """Get a new API Auth Key; the former one stays valid for the overlap."""
        return await api_settings.rotate(
            authenticator, author, locksmith, body, overlap_seconds_default=overlap_seconds_default
        )

    return routes
