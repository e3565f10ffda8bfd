"""The forms of a job: create, clone, edit. What somebody else has changed meanwhile is shown beside what was entered here."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from babel.numbers import get_currency_precision
from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, Reader, integer, text
from console.gateway import Answer
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.job_words import NAME_CALLS, NAME_PERMISSIONS, Names, names_for, type_choices
from console.visits import Visit

pages = Pages()

ACTION_ROWS = 3
READ_CALLS = ("jobs GET /v1/jobs/{job_id}", *NAME_CALLS)


def comma_separated(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.replace("\n", ",").split(",") if part.strip()]


def pairs(values: Sequence[str]) -> Any:
    """`gate = 7` on each line."""
    found: dict[str, str] = {}
    for line in "\n".join(values).splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip():
            found[key.strip()] = value.strip()
    return found


CONTENT: Mapping[str, Reader] = {
    "/reference_id": text,
    "/type": text,
    "/short_description": text,
    "/scheduled_date": text,
    "/time_window/start": text,
    "/time_window/end": text,
    "/priority": integer,
    "/contact/first_name": text,
    "/contact/last_name": text,
    "/contact/company": text,
    "/contact/phone": text,
    "/contact/email": text,
    "/address/raw": text,
    "/address/line1": text,
    "/address/line2": text,
    "/address/city": text,
    "/address/region": text,
    "/address/postal_code": text,
    "/address/country": text,
    "/location_id": text,
    "/distribution_location_id": text,
    "/balance_owed/amount": text,
    "/balance_owed/currency": text,
    "/instructions": text,
    "/invoices": comma_separated,
    "/barcodes": comma_separated,
}
TAGS: Mapping[str, Reader] = {"/tags": comma_separated}
METADATA: Mapping[str, Reader] = {"/metadata": pairs}
ACTIONS: Mapping[str, Reader] = {
    f"/actions/{row}/{name}": read
    for row in range(ACTION_ROWS)
    for name, read in {"description": text, "quantity": integer, "unit": text, "sku": text}.items()
}


@pages.page(
    "/jobs/new",
    title=mark("New job"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/jobs", *NAME_CALLS],
)
async def show_new_job(visit: Visit) -> Response:
    currency = visit.standing.tenant.get("currency")
    given = {"type": "delivery", "balance_owed": {"currency": currency}, "merchant_id": visit.query.get("merchant_id")}
    return await _shown(visit, Form(values=given), mode="new")


@pages.action(
    "/jobs/new",
    title=mark("New job"),
    permissions=["orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/jobs", *NAME_CALLS],
)
async def create_job(visit: Visit) -> Response:
    form = await visit.form()
    body = _document(form, {"/merchant_id": text, **CONTENT, **TAGS, **METADATA, **ACTIONS})
    rows = sorted(body.get("actions", {}), key=int)
    body["actions"] = [body["actions"][row] for row in rows if body["actions"][row].keys() - {"quantity"}]
    made = await form.send(visit.api.jobs.post("/v1/jobs", body, idempotency_key=form.idempotency_key))
    if made is None:
        return await _shown(visit, form, mode="new")
    return visit.redirect(f"/jobs/{made['id']}", message=_("The job is created."))


@pages.page(
    "/jobs/{job_id}/clone",
    title=mark("Clone a job"),
    permissions=["orders.jobs.read", "orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/jobs/{job_id}/clone", *READ_CALLS],
    sample="/jobs/{job_id}/clone",
)
async def show_clone(visit: Visit) -> Response:
    job = await visit.api.jobs.get("/v1/jobs/{job_id}", job_id=visit.ids["job_id"])
    return await _shown(visit, Form(values={**_as_entered(job.body), "reference_id": None}), mode="clone", job=job)


@pages.action(
    "/jobs/{job_id}/clone",
    title=mark("Clone a job"),
    permissions=["orders.jobs.read", "orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs POST /v1/jobs/{job_id}/clone", *READ_CALLS],
)
async def clone_job(visit: Visit) -> Response:
    form = await visit.form()
    job = await visit.api.jobs.get("/v1/jobs/{job_id}", job_id=visit.ids["job_id"])
    body = _patch(form, job, {**CONTENT, **TAGS, **METADATA})
    key = form.idempotency_key
    made = await form.send(
        visit.api.jobs.post("/v1/jobs/{job_id}/clone", body, idempotency_key=key, job_id=visit.ids["job_id"])
    )
    if made is None:
        return await _shown(visit, form, mode="clone", job=job)
    return visit.redirect(f"/jobs/{made['id']}", message=_("The copy is created."))


@pages.page(
    "/jobs/{job_id}/edit",
    title=mark("Edit a job"),
    permissions=["orders.jobs.read", "orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs PATCH /v1/jobs/{job_id}", *READ_CALLS],
    sample="/jobs/{job_id}/edit",
)
async def show_edit(visit: Visit) -> Response:
    job = await visit.api.jobs.get("/v1/jobs/{job_id}", job_id=visit.ids["job_id"])
    return await _shown(visit, Form.of(_as_entered(job.body), if_match=job.etag), mode="edit", job=job)


@pages.action(
    "/jobs/{job_id}/edit",
    title=mark("Edit a job"),
    permissions=["orders.jobs.read", "orders.jobs.write"],
    optional=NAME_PERMISSIONS,
    calls=["jobs PATCH /v1/jobs/{job_id}", *READ_CALLS],
)
async def edit_job(visit: Visit) -> Response:
    form = await visit.form()
    job = await visit.api.jobs.get("/v1/jobs/{job_id}", job_id=visit.ids["job_id"])
    body = _patch(form, job, fields_of(job["status"]))
    saved = await form.send(
        visit.api.jobs.patch("/v1/jobs/{job_id}", body, if_match=form.if_match, job_id=visit.ids["job_id"])
    )
    if saved is not None:
        return visit.redirect(f"/jobs/{visit.ids['job_id']}", message=_("Saved."))
    form.compare(Form.of(_as_entered(job.body), if_match=job.etag), fields_of(job["status"]))
    return await _shown(visit, form, mode="edit", job=job)


def fields_of(status: str) -> Mapping[str, Reader]:
    """The fields that can be changed in this status."""
    if status in ("staging", "new"):
        return {**CONTENT, **TAGS, **METADATA}
    return {**TAGS, **METADATA} if status == "in_progress" else METADATA


async def _shown(
    visit: Visit,
    form: Form,
    *,
    mode: str,
    job: Answer | None = None,
) -> Response:
    names: Names = await names_for(visit)
    return visit.render(
        "pages/job_form.html",
        status=form.status,
        form_state=form,
        mode=mode,
        job=job.body if job else None,
        names=names,
        type_choices=type_choices(),
        fields=fields_of(job["status"]) if job and mode == "edit" else {**CONTENT, **TAGS, **METADATA},
        action_rows=ACTION_ROWS,
    )


def _document(form: Form, fields: Mapping[str, Reader], *, nulls: bool = False) -> dict[str, Any]:
    """The body, with the amount in minor units."""
    body = form.document(fields, nulls=nulls)
    for name in ("time_window", "balance_owed"):
        part = body.get(name)
        if part is not None and (part.get("amount" if name == "balance_owed" else "start") or part.get("end")) is None:
            body[name] = None
    if body.get("balance_owed"):
        body["balance_owed"]["amount"] = _minor(body["balance_owed"]["amount"], body["balance_owed"].get("currency"))
    return body if nulls else {name: value for name, value in body.items() if value is not None}


def _patch(form: Form, job: Answer, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """A merge patch: null removes what was emptied, and the keys of metadata that are left out."""
    body = _document(form, fields, nulls=True)
    if "metadata" in body:
        body["metadata"] = {**dict.fromkeys(job["metadata"]), **body["metadata"]}
    for name in ("type", "priority", "location_id"):
        if name in body and body[name] is None:
            del body[name]
    return body


def _minor(amount: Any, currency: str | None) -> Any:
    try:
        exponent = get_currency_precision(currency or "")
        return int(Decimal(str(amount).replace(",", ".").replace(" ", "")).scaleb(exponent))
    except (InvalidOperation, ValueError):
        return amount


def _as_entered(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as its form shows it."""
    owed = job["balance_owed"]
    if owed is not None:
        exponent = get_currency_precision(owed["currency"])
        owed = {**owed, "amount": f"{Decimal(owed['amount']).scaleb(-exponent):f}"}
    return {
        **job,
        "balance_owed": owed,
        **{name: ", ".join(job[name]) for name in ("tags", "invoices", "barcodes")},
        "metadata": "\n".join(f"{key} = {value}" for key, value in job["metadata"].items()),
    }
