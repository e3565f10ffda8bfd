"""Routes of locations."""

from typing import Annotated

from fastapi import Query

from identity import locations
from identity.api.author import CurrentAuthor
from identity.models.locations import Location, LocationIn, LocationPatch
from shared.api import IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import LocationId


def router(*, locations_max: int, list_stranded_merchants: locations.ListStrandedMerchants) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["locations"])

    @routes.get("/v1/locations")
    @requires("settings.locations.read")
    async def list_locations(
        session: Reading,
        author: CurrentAuthor,
        paging: PageRequest,
        active: Annotated[bool | None, Query(description="Only active ones, or only those that are not.")] = None,
    ) -> Page[Location]:
        """List locations."""
        return await locations.find(session, author, paging, active=active)

    @routes.post("/v1/locations", status_code=201)
    @requires("settings.locations.write")
    async def create_location(body: LocationIn, session: Transaction, author: CurrentAuthor) -> Location:
        """Create a location."""
        return await locations.create(session, author, body, locations_max=locations_max)

    @routes.get("/v1/locations/{location_id}")
    @requires("settings.locations.read")
    async def get_location(location_id: LocationId, session: Reading, author: CurrentAuthor) -> Location:
        """Get a location."""
        return await locations.get(session, author, location_id)

    @routes.patch("/v1/locations/{location_id}")
    @requires("settings.locations.write")
    async def update_location(
        location_id: LocationId, body: LocationPatch, session: Transaction, author: CurrentAuthor, if_match: IfMatch
    ) -> Location:
        """Change a location."""
        return await locations.change(session, author, location_id, if_match, body)

    @routes.post("/v1/locations/{location_id}/activate")
    @requires("settings.locations.write")
    async def activate_location(location_id: LocationId, session: Transaction, author: CurrentAuthor) -> Location:
        """Activate a location."""
        return await locations.activate(session, author, location_id)

    @routes.post("/v1/locations/{location_id}/deactivate")
    @requires("settings.locations.write")
    async def deactivate_location(location_id: LocationId, session: Transaction, author: CurrentAuthor) -> Location:
        """Deactivate a location."""
        return await locations.deactivate(session, author, location_id, list_stranded_merchants=list_stranded_merchants)

    return routes
