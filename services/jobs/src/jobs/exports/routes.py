"""HTTP route of exports."""

from typing import Annotated

from fastapi import Query, Response

from jobs.exports.operations import Exports
from jobs.exports.schemas import ExportQuery
from jobs.file_formats import EXAMPLES
from shared.api import CurrentActor, CursorsOfList, Router, Transactions, requires

_FILE = {
    "description": "The file.",
    "content": {kind: {"schema": {"type": "string"}, "example": file} for kind, file in EXAMPLES.items()},
    "headers": {"Content-Disposition": {"$ref": "#/components/headers/Content-Disposition"}},
}


def router(exports: Exports) -> Router:
    """The route of `exports`, which bounds how many run at once."""
    routes = Router(tags=["files"])

    @routes.get("/v1/job-exports", response_class=Response, responses={200: _FILE})
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def export_jobs(
        requested: Annotated[ExportQuery, Query()],
        cursors: CursorsOfList,
        transactions: Transactions,
        actor: CurrentActor,
    ) -> Response:
        """Export jobs as a file.

        The file has all jobs of the list with the same conditions and order, as CSV or as one JSON document per line. An import accepts
        both. If the file cannot be completed, or is not read, the connection is broken. 429 while too many exports of the tenant
        are running, 503 while too many of all tenants are.
        """
        return await exports.begin(transactions, actor, requested, cursors)

    return routes
