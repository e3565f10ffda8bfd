"""HTTP routes of lists and searches of jobs and actions."""

from typing import Annotated

from fastapi import Query

from jobs import search
from jobs.job_store import Action, Job
from jobs.search.schemas import ActionQuery, ActionSearch, JobQuery, JobSearch
from shared.api import CurrentCaller, CursorsOfList, Documents, Page, PageRequest, Router, Searching, requires


def router() -> Router:
    """The routes; each list has a `GET` with query parameters and a `POST` with a body."""
    routes = Router(tags=["search"])

    @routes.get("/v1/jobs", response_model=Page[Job])
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def list_jobs(
        filters: Annotated[JobQuery, Query()], paging: PageRequest, session: Searching, caller: CurrentCaller
    ) -> Documents:
        """List jobs, newest first unless `sort` says otherwise.

        Merchants see their own jobs. A job must match all conditions; repeat a parameter for "any of" (for `tag`: all of). A list has no
        limit on its length or age. A cursor is valid only with the same conditions and order, else 400.
        """
        return await search.list_jobs(session, caller, filters, paging)

    @routes.post("/v1/jobs/search", response_model=Page[Job])
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def search_jobs(
        wanted: JobSearch, cursors: CursorsOfList, session: Searching, caller: CurrentCaller
    ) -> Documents:
        """Search jobs.

        The body has the conditions of the list, and `metadata`. For the next page send the same body with `cursor`.
        """
        return await search.list_jobs(session, caller, wanted, cursors.paging(wanted.limit, wanted.cursor))

    @routes.get("/v1/actions", response_model=Page[Action])
    @requires("orders.actions.read", api_credentials=True, merchant_session=True)
    async def list_actions(
        filters: Annotated[ActionQuery, Query()], paging: PageRequest, session: Searching, caller: CurrentCaller
    ) -> Documents:
        """List actions of all jobs, newest first unless `sort` says otherwise.

        Merchants see the actions of their own jobs. Actions of deleted jobs are not included.
        """
        return await search.list_actions(session, caller, filters, paging)

    @routes.post("/v1/actions/search", response_model=Page[Action])
    @requires("orders.actions.read", api_credentials=True, merchant_session=True)
    async def search_actions(
        wanted: ActionSearch, cursors: CursorsOfList, session: Searching, caller: CurrentCaller
    ) -> Documents:
        """Search actions.

        The body has the conditions of the list. For the next page send the same body with `cursor`.
        """
        return await search.list_actions(session, caller, wanted, cursors.paging(wanted.limit, wanted.cursor))

    return routes
