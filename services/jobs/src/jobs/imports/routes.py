"""HTTP routes of imports."""

from typing import Annotated

from fastapi import Query, Response

from jobs import imports
from jobs.file_formats import EXAMPLES
from jobs.imports import file_intake
from jobs.imports.schemas import Import, ImportProblem, ImportQuery
from shared.api import (
    CurrentActor,
    CurrentCaller,
    Page,
    PageRequest,
    Reading,
    Router,
    Transaction,
    Transactions,
    Upload,
    requires,
    streams,
)
from shared.ids import ImportId
from shared.postgres.database import Database


def router(database: Database, *, bytes_max: int) -> Router:
    """The routes. `bytes_max` is the largest size of a file."""
    routes = Router(tags=["files"])

    @routes.post("/v1/job-imports", status_code=202, response_model=Import)
    @requires("orders.jobs.write", api_credentials=True)
    @streams(EXAMPLES, bytes_max=bytes_max)
    async def import_jobs(
        requested: Annotated[ImportQuery, Query()], upload: Upload, transactions: Transactions, actor: CurrentActor
    ) -> Response:
        """Import a file of jobs.

        The file is the one part `file` of a form, or the body itself. It is CSV (`text/csv`, RFC 4180; commas, semicolons or tabs) or has
        one JSON document per line (`application/x-ndjson`), in UTF-8 or in the charset that its `Content-Type` names. The first row of a
        CSV file names the columns by the paths of a job's fields, such as `contact.phone`; lists, `metadata` and `actions` are JSON in one
        cell. A file of `GET /v1/job-exports` can be imported: read-only fields are ignored, and for merchants `merchant_id`, too. The jobs
        are created in the background; poll the import of the response. Each row is checked on its own, as if it were sent to
        `POST /v1/jobs`.
        """
        return await file_intake.receive(database, transactions, actor, requested, upload)

    @routes.get("/v1/job-imports")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def list_imports(paging: PageRequest, session: Reading, caller: CurrentCaller) -> Page[Import]:
        """List imports, newest first.

        Merchants see their own imports, administrators those of the tenant.
        """
        return await imports.list_imports(session, caller, paging)

    @routes.get("/v1/job-imports/{import_id}")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def get_import(import_id: ImportId, session: Reading, caller: CurrentCaller) -> Import:
        """Read one import: its progress and its results."""
        return await imports.get(session, caller, import_id)

    @routes.get("/v1/job-imports/{import_id}/errors")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def list_import_errors(
        import_id: ImportId, paging: PageRequest, session: Reading, caller: CurrentCaller
    ) -> Page[ImportProblem]:
        """List the refused rows of an import, in the order of the file.

        The first 10,000 are stored; `rows_failed` counts all of them.
        """
        return await imports.list_errors(session, caller, import_id, paging)

    @routes.post("/v1/job-imports/{import_id}/cancel")
    @requires("orders.jobs.write", api_credentials=True)
    async def cancel_import(import_id: ImportId, session: Transaction, actor: CurrentActor) -> Import:
        """Cancel an import.

        The jobs that it has created stay. 409 if it has ended in another way.
        """
        return await imports.cancel(session, actor, import_id)

    return routes
