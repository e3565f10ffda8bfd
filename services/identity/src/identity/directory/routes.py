"""Routes of the directory."""

from typing import Annotated

from fastapi import Query

from identity import directory
from identity.directory.schemas import DirectoryLocation, DirectoryMerchant
from identity.fields import SearchText
from shared.api import CurrentActor, Page, PageRequest, Router, Searching, requires
from shared.ids import LocationId, MerchantId

IDS_MAX = 200
"""Ids that one request names: as many as a page has rows."""


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["directory"])

    @routes.get("/v1/directory/merchants")
    @requires("orders.jobs.read")
    async def list_directory_merchants(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        ids: Annotated[
            list[MerchantId] | None, Query(alias="id", max_length=IDS_MAX, description="Only these.")
        ] = None,
        q: Annotated[
            SearchText,
            Query(
                description="Only where each of these words begins a word of name, e-mail addresses, API Account ID or reference."
            ),
        ] = None,
    ) -> Page[DirectoryMerchant]:
        """List ids and names of merchants."""
        return await directory.list_merchants(session, actor, paging, ids=ids, q=q)

    @routes.get("/v1/directory/locations")
    @requires("orders.jobs.read")
    async def list_directory_locations(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        ids: Annotated[
            list[LocationId] | None, Query(alias="id", max_length=IDS_MAX, description="Only these.")
        ] = None,
        q: Annotated[
            SearchText, Query(description="Only where each of these words begins a word of name or reference.")
        ] = None,
    ) -> Page[DirectoryLocation]:
        """List ids and names of locations."""
        return await directory.list_locations(session, actor, paging, ids=ids, q=q)

    return routes
