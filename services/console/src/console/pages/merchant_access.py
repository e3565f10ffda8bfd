"""API access of merchants: one by its switch, one by its level, several at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, boolean, integer
from console.gateway import Answer, Part, Problem
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.bulk_commands import MERCHANTS, try_all
from console.pages.merchants import (
    ACCESS,
    COUNTS,
    GET,
    LIST,
    READ,
    UPDATE,
    WRITE,
    address_of,
    confirm,
    counts_of,
    filters,
    merchant_of,
)
from console.pages.receipts import after_revocation
from console.sessions import local_path
from console.tables import TableQuery
from console.visits import Visit

pages = Pages()

GRANT = "identity POST /v1/merchants/{merchant_id}/api-access"
REVOKE = "identity DELETE /v1/merchants/{merchant_id}/api-access"
FAILED = "identity GET /v1/request-log"
ACCOUNTS = "identity GET /v1/api-settings/accounts"

API_LEVEL = 2
AT_ONCE = 8
"""Calls of a bulk action that are under way at the same time."""
BULK_MAX = 200
"""Merchants that one bulk action changes."""
FAILED_ROWS = 25


@pages.page(
    "/merchants/{merchant_id}/api-access",
    title=mark("API access"),
    permissions=(READ,),
    calls=(GET, ACCOUNTS, COUNTS, FAILED),
    sample="/merchants/{merchant_id}/api-access",
)
async def show_api_access(visit: Visit) -> Response:
    merchant = await merchant_of(visit)
    parts: dict[str, Part] = {}
    account_id = merchant["api_account_id"]
    if account_id:
        parts = await visit.api.parts(
            accounts=visit.api.identity.get("/v1/api-settings/accounts", query={"q": account_id}),
            counts=visit.api.identity.get("/v1/request-log/counts", query={"credential_id": account_id}),
            failed=visit.api.identity.get("/v1/request-log", query={"credential_id": account_id, "limit": FAILED_ROWS}),
        )
    return visit.render("pages/merchants/api_access.html", merchant=merchant, tab="api-access", parts=parts)


@pages.action("/merchants/{merchant_id}/api-access", permissions=(ACCESS,), calls=(GRANT,))
async def grant_api_access(visit: Visit) -> Response:
    form = await visit.form()
    merchant = await visit.api.identity.post(
        "/v1/merchants/{merchant_id}/api-access",
        idempotency_key=form.idempotency_key,
        merchant_id=visit.ids["merchant_id"],
    )
    said = _("%(name)s has API access. It finds its key under API.") % {"name": merchant["business_name"]}
    return visit.redirect(_back(form) or f"{address_of(merchant['id'])}/api-access", message=said)


@pages.page(
    "/merchants/{merchant_id}/revoke",
    title=mark("Revoke API access"),
    permissions=(READ, ACCESS),
    calls=(GET, COUNTS, REVOKE),
    sample="/merchants/{merchant_id}/revoke",
)
async def confirm_revocation(visit: Visit) -> Response:
    merchant = await merchant_of(visit)
    title = _("Revoke the API access of %(name)s?") % {"name": merchant["business_name"]}
    if not merchant["api_access"]:
        return await confirm(visit, merchant, title, _("It has no API access."), "", back=address_of(merchant["id"]))
    text = _("Its key is refused at once, in every service, and deleted. A new grant makes a new key. Its jobs stay.")
    back = f"{address_of(merchant['id'])}/api-access"
    return await confirm(visit, merchant, title, text, _("Revoke API access"), back=back)


@pages.action("/merchants/{merchant_id}/revoke", permissions=(ACCESS,), calls=(REVOKE,))
async def revoke_api_access(visit: Visit) -> Response:
    await visit.form()
    merchant_id = visit.ids["merchant_id"]
    answer = await visit.api.identity.delete("/v1/merchants/{merchant_id}/api-access", merchant_id=merchant_id)
    return after_revocation(
        visit, answer, back=f"{address_of(merchant_id)}/api-access", message=_("API access was revoked.")
    )


@pages.page(
    "/merchants/{merchant_id}/level",
    title=mark("Change level"),
    permissions=(READ, WRITE),
    calls=(GET, COUNTS, UPDATE),
    sample="/merchants/{merchant_id}/level",
)
async def choose_level(visit: Visit) -> Response:
    merchant = await merchant_of(visit)
    return await _level_page(visit, merchant, Form.of(merchant))


@pages.action(
    "/merchants/{merchant_id}/level", title=mark("Change level"), permissions=(READ, WRITE), calls=(GET, COUNTS, UPDATE)
)
async def change_level(visit: Visit) -> Response:
    form, merchant_id = await visit.form(), visit.ids["merchant_id"]
    patch = form.document({"/level": integer})
    if patch.get("level") == API_LEVEL and boolean([form.plain("/api_access")]):
        patch["api_access"] = True
    changed = await form.send(
        visit.api.identity.patch("/v1/merchants/{merchant_id}", patch, if_match=form.if_match, merchant_id=merchant_id)
    )
    if changed is None:
        merchant = await merchant_of(visit)
        form.compare(Form.of(merchant))
        return await _level_page(visit, merchant, form)
    said = _("%(name)s is Level %(level)s now.") % {"name": changed["business_name"], "level": changed["level"]}
    return after_revocation(visit, changed, back=f"{address_of(merchant_id)}/api-access", message=said)


@pages.action(
    "/merchants/bulk",
    title=mark("API access of several merchants"),
    permissions=(READ, ACCESS),
    calls=(LIST, GRANT, REVOKE, MERCHANTS.calls("POST")),
)
async def prepare_bulk(visit: Visit) -> Response:
    """What a bulk action would do, before it does it."""
    form = await visit.form()
    grants = form.plain("what") == "grant"
    table = TableQuery("/merchants", _query_in(form), filters(), search=True)
    if form.plain("which") == "all":
        command = "grant_api_access" if grants else "revoke_api_access"
        return await try_all(visit, MERCHANTS, command, _filters_of(table), table.address())
    found = await visit.api.identity.get("/v1/merchants", query=table.asked)
    effects = _sorted_by_effect(_chosen(found["data"], form), grants=grants)
    return visit.render("pages/merchants/bulk.html", grants=grants, table=table, effects=effects)


@pages.action(
    "/merchants/bulk/run",
    title=mark("API access of several merchants"),
    permissions=(ACCESS,),
    calls=(GRANT, REVOKE),
)
async def run_bulk(visit: Visit) -> Response:
    form = await visit.form()
    grants = form.plain("what") == "grant"
    wanted = form.all("merchant_id")[:BULK_MAX]
    places = asyncio.Semaphore(AT_ONCE)

    async def change(merchant_id: str) -> Problem | Answer:
        async with places:
            try:
                call = visit.api.identity.post if grants else visit.api.identity.delete
                return await call("/v1/merchants/{merchant_id}/api-access", merchant_id=merchant_id)
            except Problem as problem:
                return problem

    results = dict(zip(wanted, await asyncio.gather(*map(change, wanted)), strict=True))
    failed = {name: result for name, result in results.items() if isinstance(result, Problem)}
    receipts = [
        result.headers["revocation-id"]
        for result in results.values()
        if isinstance(result, Answer) and "revocation-id" in result.headers
    ]
    return visit.render(
        "pages/merchants/bulk_done.html",
        grants=grants,
        done=len(results) - len(failed),
        failed=failed,
        receipts=receipts,
    )


def _back(form: Form) -> str | None:
    """The list from which a switch was pressed."""
    back = local_path(form.plain("back"))
    return back if back.startswith("/merchants") else None


def _filters_of(table: TableQuery) -> dict[str, Any]:
    """What the list is filtered by, as a document."""
    values: dict[str, Any] = dict(table.values)
    if "level" in values:
        values["level"] = integer([values["level"]])
    if "api_access" in values:
        values["api_access"] = values["api_access"] == "true"
    return values


def _query_in(form: Form) -> QueryParams:
    """What the list asked for from which a bulk action comes."""
    return QueryParams({name: form.plain(name) for name in ("q", "level", "api_access", "status", "cursor")})


async def _level_page(visit: Visit, merchant: Answer, form: Form) -> Response:
    counts = await counts_of(visit, merchant)
    return visit.render(
        "pages/merchants/level.html", status=form.status, merchant=merchant, counts=counts, form_state=form
    )


def _chosen(merchants: Sequence[Mapping[str, Any]], form: Form) -> list[Mapping[str, Any]]:
    chosen = set(form.all("merchant_id"))
    return [merchant for merchant in merchants if merchant["id"] in chosen]


def _sorted_by_effect(
    merchants: Sequence[Mapping[str, Any]], *, grants: bool
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Which of these would change, which are so already, and which cannot have API access."""
    locked = [one for one in merchants if grants and (one["level"] != API_LEVEL or one["status"] != "active")]
    same = [one for one in merchants if one["api_access"] == grants and one not in locked]
    return {
        "changing": [one for one in merchants if one not in locked and one not in same],
        "same": same,
        "locked": locked,
    }
