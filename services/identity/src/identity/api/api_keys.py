"""Routes of user API keys."""

from identity import credentials
from identity.api.author import CurrentAuthor
from identity.models.credentials import ApiKey, ApiKeyIn, NewApiKey
from shared.access.credentials import Peppers
from shared.api import Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import ApiKeyId


def router(peppers: Peppers, *, api_keys_max: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API keys"])

    @routes.get("/v1/api-keys")
    @requires("settings.api_keys.read")
    async def list_api_keys(session: Reading, author: CurrentAuthor, paging: PageRequest) -> Page[ApiKey]:
        """List user API keys."""
        return await credentials.find_user_keys(session, author, paging)

    @routes.post("/v1/api-keys", status_code=201)
    @requires("settings.api_keys.write")
    async def create_api_key(body: ApiKeyIn, session: Transaction, author: CurrentAuthor) -> NewApiKey:
        """Create a user API key of your own."""
        return await credentials.create_user_key(session, author, peppers, body, api_keys_max=api_keys_max)

    @routes.delete("/v1/api-keys/{key_id}", status_code=204)
    @requires("settings.api_keys.write", exempt_from_402=True)
    async def delete_api_key(key_id: ApiKeyId, session: Transaction, author: CurrentAuthor) -> None:
        """Revoke a user API key."""
        await credentials.revoke_user_key(session, author, key_id)

    return routes
