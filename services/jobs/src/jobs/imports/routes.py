"""HTTP routes of imports."""

from typing import Annotated

from fastapi import Query, Response

from jobs import imports
from jobs.file_formats import EXAMPLES
from jobs.imports import checks, file_intake
from jobs.imports.refused_rows import RefusedRows
from jobs.imports.schemas import (
    CHECK_BYTES_MAX,
    Import,
    ImportCheck,
    ImportCheckQuery,
    ImportProblem,
    ImportQuery,
)
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

_REFUSED = {
    "description": "The file.",
    "content": {
        "text/csv": {
            "schema": {"type": "string"},
            "example": '"reference_id","contact.phone","refused.line","refused.code","refused.reason"\r\n'
            '"A-1001","514","2","invalid","contact.phone: expected a phone number with its country code"\r\n',
        }
    },
    "headers": {"Content-Disposition": {"$ref": "#/components/headers/Content-Disposition"}},
}


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


def correction_router(refused_rows: RefusedRows) -> Router:
    """The routes with which a file is made right, before its import and after."""
    routes = Router(tags=["files"])

    @routes.post("/v1/job-imports/check", response_model=ImportCheck)
    @requires("orders.jobs.write", api_credentials=True)
    @streams(EXAMPLES, bytes_max=CHECK_BYTES_MAX)
    async def check_import(
        requested: Annotated[ImportCheckQuery, Query()], upload: Upload, caller: CurrentCaller
    ) -> Response:
        """Check the beginning of a file.

        Answers at once how the file is read, and which of its first 100 rows an import would refuse. No job is created. Send the first
        256 KiB of a larger file, with `partial=true`. A dry run checks the whole file.
        """
        return await checks.check(caller, requested, upload)

    @routes.get("/v1/job-imports/{import_id}/errors.csv", response_class=Response, responses={200: _REFUSED})
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def export_refused_rows(import_id: ImportId, transactions: Transactions, actor: CurrentActor) -> Response:
        """Export the refused rows of an import.

        A CSV file with the columns of the file that was imported, as it had them, and three more: the line, the code and the reason. An
        import ignores these three, so that the file can be corrected and imported. Text that a spreadsheet would take for a formula begins
        with an apostrophe. Rows of NDJSON are in one column. Rows that could not be read, are beyond 32 MiB in all, or belong to an
        import that ended more than seven days ago, have their reasons alone. It counts as one of the tenant's exports.
        """
        return await refused_rows.begin(transactions, actor, import_id)

    return routes
