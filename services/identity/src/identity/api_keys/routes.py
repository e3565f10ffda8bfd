"""Routes of user API keys."""

from identity import api_keys
from identity.api_keys.schemas import ApiKey, ApiKeyIn, CreatedApiKey
from shared.access.credentials import Peppers
from shared.api import CurrentActor, Page, PageRequest, Reading, Router, Transaction, also_answers, requires
from shared.ids import ApiKeyId


def router(peppers: Peppers, *, api_keys_max: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API keys"])

    @routes.get("/v1/api-keys")
    @requires("settings.api_keys.read")
    async def list_api_keys(session: Reading, actor: CurrentActor, paging: PageRequest) -> Page[ApiKey]:
        """List user API keys."""
        return await api_keys.list_api_keys(session, actor, paging)

    @routes.post("/v1/api-keys", status_code=201)
    @requires("settings.api_keys.write")
    async def create_api_key(body: ApiKeyIn, session: Transaction, actor: CurrentActor) -> CreatedApiKey:
        """Create a user API key of your own."""
        return await api_keys.create(session, actor, peppers, body, api_keys_max=api_keys_max)

    @routes.delete("/v1/api-keys/{key_id}", status_code=204, responses=also_answers(204, "Revocation-Id"))
    @requires("settings.api_keys.write", exempt_from_402=True)
    async def delete_api_key(key_id: ApiKeyId, session: Transaction, actor: CurrentActor) -> None:
        """Revoke a user API key."""
        await api_keys.revoke(session, actor, key_id)

    return routes
