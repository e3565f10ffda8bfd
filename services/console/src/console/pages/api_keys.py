"""API keys of people: what each opens, when it was last used; made, shown once, revoked."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from starlette.responses import Response

from console import permissions
from console.declarations import Pages
from console.forms import Form, several, text
from console.gateway import Forbidden
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.staff import names_in
from console.tables import TableQuery
from console.visits import Visit

pages = Pages()

LIST = "identity GET /v1/api-keys"
CREATE = "identity POST /v1/api-keys"
STAFF = "identity GET /v1/staff"
NAMES_MAX = 200
SOON = timedelta(days=14)


@pages.page(
    "/settings/api-keys",
    title=mark("API keys"),
    permissions=("settings.api_keys.read",),
    optional=("settings.staff.read",),
    calls=(LIST, STAFF),
    menu="api-keys",
)
async def show_api_keys(visit: Visit) -> Response:
    table = TableQuery("/settings/api-keys", visit.query)
    parts = await visit.api.parts(
        keys=visit.api.identity.get("/v1/api-keys", query=table.asked),
        staff=visit.api.identity.get("/v1/staff", query={"limit": NAMES_MAX}),
    )
    keys, staff = parts["keys"], parts["staff"]
    if keys.problem is not None and keys.problem.status < 500:
        raise keys.problem
    return visit.render(
        "pages/api_keys.html",
        table=table,
        keys=keys,
        names=names_in(staff),
        labels=permissions.LABELS,
        state_of=state_of,
    )


@pages.page(
    "/settings/api-keys/new",
    title=mark("New API key"),
    permissions=("settings.api_keys.write",),
    calls=(CREATE,),
)
async def show_new_api_key(visit: Visit) -> Response:
    if not visit.standing.holds("settings.api_keys.write"):
        raise forbidden("settings.api_keys.write")
    return _new(visit, Form())


@pages.action(
    "/settings/api-keys/new", title=mark("New API key"), permissions=("settings.api_keys.write",), calls=(CREATE,)
)
async def create_api_key(visit: Visit) -> Response:
    form = await visit.form()
    body = {"name": "", "scopes": [], **form.document({"/name": text, "/scopes": several, "/expires_at": text})}
    body["scopes"] = permissions.plain(body["scopes"])
    body["expires_at"] = end_of_day(body.get("expires_at"), visit)
    made = await form.send(visit.api.identity.post("/v1/api-keys", body, idempotency_key=form.idempotency_key))
    if made is None:
        return _new(visit, form)
    return visit.render("pages/api_key_created.html", key=made.body, base_url=visit.parts.base_url)


@pages.action(
    "/settings/api-keys/{key_id}/revoke",
    permissions=("settings.api_keys.write",),
    calls=("identity DELETE /v1/api-keys/{key_id}",),
)
async def revoke_api_key(visit: Visit) -> Response:
    await visit.form()
    await visit.api.identity.delete("/v1/api-keys/{key_id}", key_id=visit.ids["key_id"])
    return visit.redirect("/settings/api-keys", message=_("The key is revoked. It is refused from now on, everywhere."))


def state_of(key: Mapping[str, str | None], now: datetime | None = None) -> tuple[str, str]:
    """What is to be said of a key in a word, and how it looks."""
    now = now or datetime.now(UTC)
    expires_at = datetime.fromisoformat(key["expires_at"]) if key["expires_at"] else None
    if key["status"] == "revoked":
        return _("Revoked"), "idle"
    if expires_at is not None and expires_at <= now:
        return _("Expired"), "bad"
    if expires_at is not None and expires_at - now <= SOON:
        return _("Expires soon"), "warn"
    return _("Active"), "good"


def end_of_day(value: str | None, visit: Visit) -> str | None:
    """The last second of a day, in the reader's zone; what is no day is sent as it is."""
    try:
        day = date.fromisoformat(value or "")
    except ValueError:
        return value
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=visit.words.zone).isoformat()


def forbidden(permission: str) -> Forbidden:
    """What a page answers that needs no call before it is sent."""
    return Forbidden(service="identity", status=403, code="permission_missing", body={"permission": permission})


def _new(visit: Visit, form: Form) -> Response:
    return visit.render("pages/api_key_new.html", status=form.status, form_state=form, sections=permissions.SECTIONS)
