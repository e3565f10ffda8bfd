"""Routes of locations."""

from typing import Annotated

from fastapi import Query

from identity import locations
from identity.fields import SearchText
from identity.locations.schemas import BY_WORDS, Location, LocationIn, LocationPatch
from shared.api import CurrentActor, IfMatch, Page, PageRequest, Reading, Router, Searching, Transaction, requires
from shared.fields.merge_patch import merge_patch_body
from shared.fields.numbers import QueryFlag
from shared.ids import LocationId


def router(*, locations_max: int, list_stranded_merchants: locations.ListStrandedMerchants) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["locations"])

    @routes.get("/v1/locations")
    @requires("settings.locations.read")
    async def list_locations(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        active: Annotated[QueryFlag | None, Query(description="Only active ones, or only those that are not.")] = None,
        q: Annotated[SearchText, Query(description=BY_WORDS)] = None,
    ) -> Page[Location]:
        """List locations."""
        return await locations.list_locations(session, actor, paging, active=active, q=q)

    @routes.post("/v1/locations", status_code=201)
    @requires("settings.locations.write")
    async def create_location(body: LocationIn, session: Transaction, actor: CurrentActor) -> Location:
        """Create a location."""
        return await locations.create(session, actor, body, locations_max=locations_max)

    @routes.get("/v1/locations/{location_id}")
    @requires("settings.locations.read")
    async def get_location(location_id: LocationId, session: Reading, actor: CurrentActor) -> Location:
        """Get a location."""
        return await locations.get(session, actor, location_id)

    @routes.patch("/v1/locations/{location_id}", openapi_extra=merge_patch_body("LocationPatch"))
    @requires("settings.locations.write")
    async def update_location(
        location_id: LocationId, body: LocationPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Location:
        """Change a location."""
        return await locations.update(session, actor, location_id, if_match, body)

    @routes.post("/v1/locations/{location_id}/activate")
    @requires("settings.locations.write")
    async def activate_location(location_id: LocationId, session: Transaction, actor: CurrentActor) -> Location:
        """Activate a location."""
        return await locations.activate(session, actor, location_id)

    @routes.post("/v1/locations/{location_id}/deactivate")
    @requires("settings.locations.write")
    async def deactivate_location(location_id: LocationId, session: Transaction, actor: CurrentActor) -> Location:
        """Deactivate a location."""
        return await locations.deactivate(session, actor, location_id, list_stranded_merchants=list_stranded_merchants)

    return routes
