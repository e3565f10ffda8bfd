"""One command for several records: for the jobs that are ticked, or for everything that matches, counted first, then in the background."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, text
from console.gateway import Answer, Away, Conflict, Forbidden, Invalid, TooMany
from console.gateway.api import Service
from console.i18n import gettext as _
from console.i18n import mark, ngettext
from console.pages.jobs import COMMAND_CALLS, COMMAND_PERMISSIONS, COMMANDS, back_to_list
from console.visits import Visit

pages = Pages()

CHOSEN_MAX = 50
DELETE = "jobs DELETE /v1/jobs/{job_id}"
LISTS = frozenset({"status", "type", "location_id"})
"""Filters of jobs that may have several values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Bulk commands on one kind of record: their route, where their pages are, and the list that they come from."""

    service: str
    route: str
    address: str
    list: str
    about: str
    titles: Mapping[str, str]
    takes_reason: frozenset[str] = frozenset()

    def calls(self, method: str, rest: str = "") -> str:
        return f"{self.service} {method} {self.route}{rest}"

    def api(self, visit: Visit) -> Service:
        return visit.api.jobs if self.service == "jobs" else visit.api.identity


JOBS = Kind(
    "jobs",
    "/v1/job-commands",
    "/bulk/jobs",
    "/jobs",
    mark("For all jobs that match."),
    {
        **{name.replace("-", "_"): button for name, (button, _done, _reason) in COMMANDS.items()},
        "delete": mark("Delete"),
    },
    frozenset(name.replace("-", "_") for name, (_button, _done, reason) in COMMANDS.items() if reason),
)
MERCHANTS = Kind(
    "identity",
    "/v1/merchant-commands",
    "/bulk/merchants",
    "/merchants",
    mark("For all merchants that match."),
    {"grant_api_access": mark("Grant API access"), "revoke_api_access": mark("Revoke API access")},
)
ONE = "/{command_id}"


@pages.action("/jobs/chosen", optional=[*COMMAND_PERMISSIONS, "orders.jobs.delete"], calls=[*COMMAND_CALLS, DELETE])
async def run_on_chosen(visit: Visit) -> Response:
    """One command on the jobs that are ticked on the page, one after the other; each is done or refused by itself."""
    form = await visit.form()
    command, chosen = form.plain("command"), form.all("job")[:CHOSEN_MAX]
    if command not in (*COMMANDS, "delete") or not chosen:
        return visit.redirect(back_to_list(form), message=_("Nothing was chosen."))
    done, refused = 0, ""
    for job_id in chosen:
        try:
            if command == "delete":
                await visit.api.jobs.delete("/v1/jobs/{job_id}", job_id=job_id)
            else:
                await visit.api.jobs.post(f"/v1/jobs/{{job_id}}/{command}", job_id=job_id)
            done += 1
        except (Conflict, Invalid, TooMany, Away) as problem:
            refused = problem.detail or problem.code
    told = ngettext("%(num)d job done.", "%(num)d jobs done.", done) % {"num": done}
    left = len(chosen) - done
    if left:
        told += " " + ngettext("%(num)d refused:", "%(num)d refused:", left) % {"num": left} + f" {refused}"
    return visit.redirect(back_to_list(form), message=told)


@pages.action("/bulk/jobs", permissions=["orders.jobs.read"], calls=[JOBS.calls("POST")])
async def try_on_jobs(visit: Visit) -> Response:
    """A dry run for all jobs that match the filters of the list."""
    form = await visit.form()
    asked = dict(parse_qsl(form.plain("query")))
    filters = {name: [value] if name in LISTS else value for name, value in asked.items() if name != "cursor"}
    return await try_all(visit, JOBS, form.plain("command").replace("-", "_"), filters, back_to_list(form))


async def try_all(visit: Visit, kind: Kind, command: str, filters: Mapping[str, Any], back: str) -> Response:
    """A dry run for all that match: it counts, and changes nothing."""
    wanted = {"command": command, "filters": filters, "dry_run": True}
    try:
        made = await kind.api(visit).post(kind.route, wanted)
    except (Conflict, Forbidden, Invalid) as problem:
        return visit.redirect(back, message=_("Not started: %(why)s.") % {"why": problem.detail})
    return visit.redirect(f"{kind.address}/{made['id']}")


def _declare(kind: Kind, permission: str, sample: str) -> None:
    """The pages of one kind."""
    get, address = [kind.calls("GET", ONE)], kind.address + ONE

    @pages.page(address, title=mark("All that match"), permissions=[permission], calls=get, sample=sample)
    async def show_command(visit: Visit) -> Response:
        return visit.render("pages/bulk_command.html", **await _shown(visit, kind))

    @pages.fragment(f"{address}/now", permissions=[permission], calls=get)
    async def show_command_now(visit: Visit) -> Response:
        """Its progress."""
        return visit.render("parts/bulk_command_now.html", **await _shown(visit, kind))

    @pages.action(f"{address}/run", permissions=[permission], calls=[*get, kind.calls("POST")])
    async def run_command(visit: Visit) -> Response:
        """The same again, and this time it changes what matches."""
        form = await visit.form()
        tried = await _get(visit, kind)
        wanted = {"command": tried["command"], "filters": tried["filters"], **form.document({"/reason": text})}
        try:
            made = await kind.api(visit).post(kind.route, wanted, idempotency_key=form.idempotency_key)
        except Conflict as problem:
            back = f"{kind.address}/{tried['id']}"
            return visit.redirect(back, message=_("Not started: %(why)s.") % {"why": problem.detail})
        return visit.redirect(f"{kind.address}/{made['id']}?of={tried['matched']}")

    @pages.action(f"{address}/cancel", permissions=[permission], calls=[kind.calls("POST", f"{ONE}/cancel")])
    async def cancel_command(visit: Visit) -> Response:
        await visit.form()
        target = f"{kind.address}/{visit.ids['command_id']}"
        try:
            await kind.api(visit).post(f"{kind.route}{ONE}/cancel", command_id=visit.ids["command_id"])
        except Conflict:
            return visit.redirect(target, message=_("It had ended already."))
        return visit.redirect(target, message=_("Cancelled. What it has changed stays."))


async def _get(visit: Visit, kind: Kind) -> Answer:
    return await kind.api(visit).get(kind.route + ONE, command_id=visit.ids["command_id"])


async def _shown(visit: Visit, kind: Kind) -> dict[str, Any]:
    found = await _get(visit, kind)
    of = visit.query.get("of", "")
    filters = {name: value[0] if isinstance(value, list) else value for name, value in found["filters"].items()}
    asked = urlencode(
        {name: str(value).lower() if isinstance(value, bool) else value for name, value in filters.items()}
    )
    return {
        "command": found.body,
        "kind": kind,
        "title": kind.titles[found["command"]],
        "of": int(of) if of.isdecimal() and len(of) < 10 else 0,
        "back": f"{kind.list}?{asked}" if asked else kind.list,
        "takes_reason": found["command"] in kind.takes_reason,
        "key": Form().idempotency_key,
    }


_declare(JOBS, "orders.jobs.read", "/bulk/jobs/{job_command_id}")
_declare(MERCHANTS, "settings.merchants.api_access", "/bulk/merchants/{merchant_command_id}")
