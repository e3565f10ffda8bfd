"""Imports: drop a file, check its first rows, try the whole of it, let it go on with progress, take refused rows back with the reasons."""

from collections.abc import AsyncIterator

from starlette.responses import Response

from console.declarations import Pages
from console.forms import FORM_TOKEN, IDEMPOTENCY_KEY, Form
from console.gateway import Answer
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.job_words import NAME_CALLS, NAME_PERMISSIONS, names_for
from console.pages.jobs import passed_on
from console.sessions import is_form_token
from console.tables import TableQuery
from console.uploads import Upload, UploadUnreadable, read_upload
from console.visits import FormRefused, Visit

pages = Pages()

CHECK_BYTES = 256 * 1024
REFUSED_SHOWN = 50
ROWS_SHOWN = 12
COLUMNS_SHOWN = 8
IMPORT_STATUSES = {
    "queued": (mark("Waiting"), "idle"),
    "running": (mark("Running"), "info"),
    "succeeded": (mark("Done"), "good"),
    "failed": (mark("Failed"), "bad"),
    "cancelled": (mark("Cancelled"), "idle"),
}


@pages.page(
    "/imports",
    title=mark("Imports"),
    audience="signed in",
    menu="job-imports",
    permissions=["orders.jobs.read"],
    calls=["jobs GET /v1/job-imports"],
)
async def list_imports(visit: Visit) -> Response:
    table = TableQuery("/imports", visit.query)
    found = await visit.api.jobs.get("/v1/job-imports", query=table.asked)
    return visit.render("pages/job_imports.html", table=table, found=found, statuses=IMPORT_STATUSES)


@pages.page(
    "/imports/new",
    title=mark("Import jobs"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/job-imports", *NAME_CALLS],
)
async def show_new_import(visit: Visit) -> Response:
    return await _shown(visit, Form())


@pages.action(
    "/imports/check",
    title=mark("Import jobs"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/job-imports/check", *NAME_CALLS],
)
async def check_file(visit: Visit) -> Response:
    upload, form = await _uploaded(visit)
    if upload.content is None:
        return await _shown(visit, form)
    beginning, is_whole = await _beginning(upload.content)
    query = {"merchant_id": upload.fields.get("merchant_id"), "partial": None if is_whole else "true"}
    if upload.fields.get("partial") == "true":
        query["partial"] = "true"
    call = visit.api.jobs.upload("/v1/job-imports/check", beginning, media_type=upload.media_type, query=query)
    return await _shown(visit, form, checked=await form.send(call))


@pages.action(
    "/imports/dry-run",
    title=mark("Import jobs"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/job-imports", *NAME_CALLS],
)
async def try_file(visit: Visit) -> Response:
    return await _send(visit, dry_run=True)


@pages.action(
    "/imports",
    title=mark("Import jobs"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/job-imports", *NAME_CALLS],
)
async def import_file(visit: Visit) -> Response:
    return await _send(visit, dry_run=False)


@pages.page(
    "/imports/{import_id}",
    title=mark("Import"),
    audience="signed in",
    permissions=["orders.jobs.read"],
    calls=["jobs GET /v1/job-imports/{import_id}", "jobs GET /v1/job-imports/{import_id}/errors"],
    sample="/imports/{import_id}",
)
async def show_import(visit: Visit) -> Response:
    jobs = visit.api.jobs
    found = await jobs.get("/v1/job-imports/{import_id}", import_id=visit.ids["import_id"])
    parts = await visit.api.parts(
        errors=jobs.get(
            "/v1/job-imports/{import_id}/errors", query={"limit": REFUSED_SHOWN}, import_id=visit.ids["import_id"]
        )
    )
    return visit.render("pages/job_import.html", one=found.body, errors=parts["errors"], statuses=IMPORT_STATUSES)


@pages.fragment(
    "/imports/{import_id}/refused-rows.csv",
    audience="signed in",
    permissions=["orders.jobs.read"],
    calls=["jobs GET /v1/job-imports/{import_id}/errors.csv"],
)
async def export_refused_rows(visit: Visit) -> Response:
    return await passed_on(visit, "/v1/job-imports/{import_id}/errors.csv", {}, import_id=visit.ids["import_id"])


@pages.action(
    "/imports/{import_id}/cancel",
    permissions=["orders.jobs.write"],
    calls=["jobs POST /v1/job-imports/{import_id}/cancel"],
)
async def cancel_import(visit: Visit) -> Response:
    await visit.form()
    await visit.api.jobs.post("/v1/job-imports/{import_id}/cancel", import_id=visit.ids["import_id"])
    return visit.redirect(f"/imports/{visit.ids['import_id']}", message=_("The import is cancelled. Its jobs stay."))


async def _send(visit: Visit, *, dry_run: bool) -> Response:
    upload, form = await _uploaded(visit)
    if upload.content is None:
        return await _shown(visit, form)
    query = {"dry_run": "true" if dry_run else None, "merchant_id": upload.fields.get("merchant_id")}
    made = await form.send(
        visit.api.jobs.upload(
            "/v1/job-imports",
            upload.content,
            media_type=upload.media_type,
            query=query,
            idempotency_key=f"{form.idempotency_key}-{'dry' if dry_run else 'go'}",
        )
    )
    if made is None:
        return await _shown(visit, form)
    return visit.redirect(f"/imports/{made['id']}")


async def _uploaded(visit: Visit) -> tuple[Upload, Form]:
    """The file that was sent, and its form. Raises `FormRefused`."""
    try:
        upload = await read_upload(visit.request.headers.get("content-type", ""), visit.request.stream())
    except UploadUnreadable as error:
        raise FormRefused from error
    assert visit.session is not None
    if not is_form_token(visit.session.cookie, upload.fields.get(FORM_TOKEN, "")):
        raise FormRefused
    kept = {name: [upload.fields.get(name, "")] for name in (IDEMPOTENCY_KEY, "merchant_id")}
    form = Form(kept)
    if upload.content is None:
        form.refuse("/file", _("Choose a file first."))
    return upload, form


async def _beginning(content: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The first bytes of a file, and whether that is all of it; the rest is read and left."""
    found, size = bytearray(), 0
    async for piece in content:
        size += len(piece)
        found += piece[: CHECK_BYTES - len(found)]
    return bytes(found), size <= CHECK_BYTES


async def _shown(visit: Visit, form: Form, *, checked: Answer | None = None) -> Response:
    content = {
        "form_state": form,
        "checked": checked.body if checked else None,
        "rows_shown": ROWS_SHOWN,
        "columns_shown": COLUMNS_SHOWN,
    }
    status = form.status if form.problem is not None or not form.errors else 422
    if visit.is_fragment:
        return visit.render("parts/import_check.html", status=status, **content)
    return visit.render("pages/job_import_new.html", status=status, names=await names_for(visit), **content)
