"""Staff accounts: people and what each may do, why somebody may not, invitations."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from console import permissions
from console.declarations import Pages
from console.forms import Form, several, text
from console.gateway import Forbidden, Part, Problem
from console.i18n import gettext as _
from console.i18n import mark
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

READ, WRITE = "settings.staff.read", "settings.staff.write"
LIST = "identity GET /v1/staff"
ONE = "identity GET /v1/staff/{user_id}"
PERMISSIONS = "identity GET /v1/staff/{user_id}/permissions"
EXPLAIN = "identity GET /v1/permissions/explain"
NAMES_MAX = 200
STATES = {
    "active": (mark("Active"), "good"),
    "invited": (mark("Invited"), "info"),
    "disabled": (mark("Disabled"), "idle"),
}


@pages.page(
    "/settings/staff",
    title=mark("Staff Accounts"),
    permissions=(READ,),
    optional=(WRITE,),
    calls=(LIST, "identity GET /v1/invitations", EXPLAIN),
    menu="staff",
)
async def show_staff(visit: Visit) -> Response:
    states = [(name, _(label)) for name, (label, _kind) in STATES.items()]
    table = TableQuery("/settings/staff", visit.query, [Filter("status", _("State"), states)], search=True)
    subject, permission = visit.query.get("subject", ""), visit.query.get("permission", "")
    calls = {"staff": visit.api.identity.get("/v1/staff", query=table.asked)}
    if visit.standing.holds(WRITE):
        calls["invitations"] = visit.api.identity.get("/v1/invitations", query={"limit": NAMES_MAX})
    if subject and permission:
        query = {"subject": subject, "permission": permission}
        calls["explanation"] = visit.api.identity.get("/v1/permissions/explain", query=query)
    parts = await visit.api.parts(**calls)
    staff = parts["staff"]
    if staff.problem is not None and staff.problem.status < 500:
        raise staff.problem
    people = staff["data"] if staff.answer else []
    return visit.render(
        "pages/staff.html",
        table=table,
        staff=staff,
        people=people,
        names=names_in(staff),
        invitations=invitations_in(parts.get("invitations")),
        explanation=parts.get("explanation"),
        subject=subject,
        permission=permission,
        sections=permissions.SECTIONS,
        labels=permissions.LABELS,
        held=held_by,
        states=STATES,
    )


@pages.page(
    "/settings/staff/new",
    title=mark("Invite"),
    permissions=(WRITE,),
    calls=("identity POST /v1/staff",),
)
async def show_new_staff(visit: Visit) -> Response:
    if not visit.standing.holds(WRITE):
        raise Forbidden(service="identity", status=403, code="permission_missing", body={"permission": WRITE})
    return _invite(visit, Form())


@pages.action("/settings/staff/new", title=mark("Invite"), permissions=(WRITE,), calls=("identity POST /v1/staff",))
async def invite_staff(visit: Visit) -> Response:
    form = await visit.form()
    fields = {"/email": text, "/first_name": text, "/last_name": text, "/language": text, "/permissions": several}
    body = {"email": "", "first_name": "", "last_name": "", **form.document(fields)}
    body["permissions"] = permissions.plain(body["permissions"])
    made = await form.send(visit.api.identity.post("/v1/staff", body, idempotency_key=form.idempotency_key))
    if made is None:
        return _invite(visit, form)
    if made["invitation_token"]:
        return visit.render("pages/staff_invited.html", invited=made.body)
    return visit.redirect(
        f"/settings/staff/{made['id']}",
        message=_("The invitation is on its way to %(email)s.") % {"email": made["email"]},
    )


@pages.page(
    "/settings/staff/{user_id}",
    title=mark("Staff account"),
    permissions=(READ,),
    calls=(ONE, PERMISSIONS),
    sample="/settings/staff/{user_id}",
)
async def show_person(visit: Visit) -> Response:
    user_id = visit.ids["user_id"]
    found = await visit.api.identity.get("/v1/staff/{user_id}", user_id=user_id)
    rights = await visit.api.identity.get("/v1/staff/{user_id}/permissions", user_id=user_id)
    return _person(visit, found.body, Form.of(rights))


@pages.action(
    "/settings/staff/{user_id}/permissions",
    title=mark("Staff account"),
    permissions=(READ, WRITE),
    calls=(ONE, PERMISSIONS, "identity PUT /v1/staff/{user_id}/permissions"),
)
async def change_permissions(visit: Visit) -> Response:
    """First shows the difference; saves it once that was confirmed."""
    form = await visit.form()
    user_id = visit.ids["user_id"]
    chosen = permissions.plain(form.document({"/permissions": several})["permissions"])
    person = (await visit.api.identity.get("/v1/staff/{user_id}", user_id=user_id)).body
    if form.plain("confirmed"):
        saved = await form.send(
            visit.api.identity.put(
                "/v1/staff/{user_id}/permissions", {"permissions": chosen}, if_match=form.if_match, user_id=user_id
            )
        )
        if saved is not None:
            return visit.redirect(
                f"/settings/staff/{user_id}", message=_("Saved. It is in force everywhere within a moment.")
            )
        # The difference that is shown now is that to the newer version.
        now = await visit.api.identity.get("/v1/staff/{user_id}/permissions", user_id=user_id)
        form.compare(Form.of(now))
    given, taken = permissions.differences(person["permissions"], chosen)
    if not given and not taken and form.problem is None:
        return visit.redirect(f"/settings/staff/{user_id}", message=_("Nothing was changed."))
    return visit.render(
        "pages/staff_difference.html",
        status=form.status,
        who=person,
        form_state=form,
        chosen=chosen,
        given=given,
        taken=taken,
        labels=permissions.LABELS,
    )


@pages.action(
    "/settings/staff/{user_id}/disable",
    permissions=(WRITE,),
    calls=("identity POST /v1/staff/{user_id}/disable",),
)
async def disable_person(visit: Visit) -> Response:
    await visit.form()
    user_id = visit.ids["user_id"]
    await visit.api.identity.post("/v1/staff/{user_id}/disable", user_id=user_id)
    return visit.redirect(
        f"/settings/staff/{user_id}", message=_("Disabled. All sessions and keys are refused from now on.")
    )


@pages.action(
    "/settings/staff/{user_id}/enable",
    permissions=(WRITE,),
    calls=("identity POST /v1/staff/{user_id}/enable",),
)
async def enable_person(visit: Visit) -> Response:
    await visit.form()
    user_id = visit.ids["user_id"]
    await visit.api.identity.post("/v1/staff/{user_id}/enable", user_id=user_id)
    return visit.redirect(f"/settings/staff/{user_id}", message=_("Enabled again."))


@pages.action(
    "/settings/invitations/{invitation_id}/resend",
    permissions=(WRITE,),
    calls=("identity POST /v1/invitations/{invitation_id}/resend",),
)
async def resend_invitation(visit: Visit) -> Response:
    await visit.form()
    sent = await visit.api.identity.post(
        "/v1/invitations/{invitation_id}/resend", invitation_id=visit.ids["invitation_id"]
    )
    if sent["invitation_token"]:
        return visit.render("pages/staff_invited.html", invited={**sent.body, "email": sent["person"]["email"]})
    return visit.redirect("/settings/staff", message=_("Sent again. The invitation of before is of no use any more."))


@pages.action(
    "/settings/invitations/{invitation_id}/withdraw",
    permissions=(WRITE,),
    calls=("identity DELETE /v1/invitations/{invitation_id}",),
)
async def withdraw_invitation(visit: Visit) -> Response:
    await visit.form()
    await visit.api.identity.delete("/v1/invitations/{invitation_id}", invitation_id=visit.ids["invitation_id"])
    return visit.redirect("/settings/staff", message=_("Withdrawn. The invitation is of no use any more."))


def names_in(staff: Part) -> dict[str, str]:
    """The names of people by their ids; empty where they cannot be seen."""
    return {} if staff.answer is None else {one["id"]: full_name(one) for one in staff["data"]}


def full_name(person: Mapping[str, Any]) -> str:
    return f"{person['first_name']} {person['last_name']}"


def held_by(person: Mapping[str, Any]) -> list[permissions.Held]:
    """How much of each section somebody has."""
    return permissions.held(person["permissions"], is_owner=person["kind"] == "owner")


def invitations_in(part: Part | None) -> tuple[list[Any], Problem | None]:
    """Staff who were invited and have not come yet, and why they cannot be shown."""
    if part is None:
        return [], None
    if part.answer is None:
        return [], part.problem
    return [one for one in part["data"] if one["person"]["kind"] == "staff"], None


def _person(visit: Visit, person: Mapping[str, Any], form: Form) -> Response:
    is_self = person["id"] == visit.person.get("id")
    missing = sorted(permissions.expanded(person["permissions"]) - set(visit.standing.permissions.get("scopes", ())))
    return visit.render(
        "pages/staff_person.html",
        who=person,
        form_state=form,
        is_self=is_self,
        missing=missing,
        may_change=visit.standing.holds(WRITE) and person["kind"] != "owner" and not is_self and not missing,
        sections=permissions.SECTIONS,
        labels=permissions.LABELS,
        held=held_by(person),
        states=STATES,
        audit_address="/settings/audit?" + urlencode({"target": person["id"]}),
    )


def _invite(visit: Visit, form: Form) -> Response:
    return visit.render("pages/staff_new.html", status=form.status, form_state=form, sections=permissions.SECTIONS)
