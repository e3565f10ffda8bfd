"""The first page: what needs the person, then how things stand. An empty company sees its first five steps instead."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.gateway import Part, Problem
from console.i18n import gettext as _
from console.i18n import mark, ngettext
from console.visits import Visit

pages = Pages()

ENDPOINTS_SHOWN = 5
PAYMENT_REQUIRED = 402
KEY_WARNING = timedelta(days=14)
TRIAL_WARNING = timedelta(days=7)
OPTIONAL = (
    "orders.jobs.read",
    "reports.read",
    "settings.webhooks.read",
    "settings.api_keys.read",
    "settings.merchants.read",
    "billing.read",
)
CALLS = (
    "jobs GET /v1/jobs",
    "jobs GET /v1/job-imports",
    "jobs GET /v1/reports/jobs/summary",
    "webhooks GET /v1/webhook-endpoints",
    "webhooks GET /v1/webhook-endpoints/{endpoint_id}/stats",
    "identity GET /v1/api-keys",
    "identity GET /v1/merchants",
    "identity GET /v1/revocation-lag",
    "billing GET /v1/billing/subscription",
)
STATUSES = {
    "staging": mark("Staging"),
    "new": mark("New"),
    "in_progress": mark("In progress"),
    "completed": mark("Completed"),
    "partially_completed": mark("Partially completed"),
    "incomplete": mark("Incomplete"),
    "damaged": mark("Damaged"),
    "resolved": mark("Resolved"),
    "cancelled": mark("Cancelled"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs the person, with its one button."""

    kind: str
    text: str
    button: str
    address: str


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first five steps."""

    done: bool
    text: str
    method: str
    path: str
    body: str


@pages.page("/", title=mark("Home"), audience="signed in", optional=OPTIONAL, menu="home", calls=CALLS)
async def show_home(visit: Visit) -> Response:
    parts = await visit.api.parts(**_asked(visit))
    stats = await _stats(visit, parts.get("endpoints"))
    steps = _steps(visit, parts)
    return visit.render(
        "pages/home.html",
        parts=parts,
        missing_parts=_missing(parts),
        needs=_needs(parts, datetime.now(UTC)),
        steps=[] if all(step.done for step in steps) else steps,
        statuses=STATUSES,
        deliveries=stats,
    )


@pages.fragment(
    "/steps",
    permissions=("orders.jobs.read", "settings.merchants.read", "settings.webhooks.read"),
    calls=("jobs GET /v1/jobs", "identity GET /v1/merchants", "webhooks GET /v1/webhook-endpoints"),
)
async def show_steps(visit: Visit) -> Response:
    """Which of the first steps are done by now."""
    api, one = visit.api, {"limit": 1}
    parts = await api.parts(
        merchants=api.identity.get("/v1/merchants", query=one),
        with_access=api.identity.get("/v1/merchants", query={**one, "api_access": "true"}),
        jobs=api.jobs.get("/v1/jobs", query=one),
        endpoints=api.webhooks.get("/v1/webhook-endpoints", query=one),
    )
    return visit.render("parts/steps.html", steps=_steps(visit, parts))


def _asked(visit: Visit) -> dict[str, Any]:
    """The calls for the parts that this person may see."""
    api, holds = visit.api, visit.standing.holds
    asked: dict[str, Any] = {}
    if holds("orders.jobs.read"):
        asked["jobs"] = api.jobs.get("/v1/jobs", query={"limit": 5})
        asked["staging"] = api.jobs.get("/v1/jobs", query={"status": "staging", "limit": 1})
        asked["imports"] = api.jobs.get("/v1/job-imports", query={"limit": 20})
    if visit.standing.is_merchant:
        return asked
    if holds("reports.read"):
        midnight = datetime.now(visit.words.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        asked["today"] = api.jobs.get("/v1/reports/jobs/summary", query={"created_gte": midnight.isoformat()})
    if holds("settings.webhooks.read"):
        asked["endpoints"] = api.webhooks.get("/v1/webhook-endpoints", query={"limit": 100})
    if holds("settings.api_keys.read"):
        asked["keys"] = api.identity.get("/v1/api-keys", query={"limit": 100})
    if holds("billing.read"):
        asked["subscription"] = api.billing.get("/v1/billing/subscription")
    if holds("settings.merchants.read"):
        asked["merchants"] = api.identity.get("/v1/merchants", query={"limit": 1})
        asked["lag"] = api.identity.get("/v1/revocation-lag")
        asked["with_access"] = api.identity.get("/v1/merchants", query={"limit": 1, "api_access": "true"})
    return asked


def _missing(parts: dict[str, Part]) -> list[Problem]:
    """Why parts are missing: each service says so once."""
    problems = [part.problem for part in parts.values() if part.problem is not None]
    return list({(one.service if one.status != PAYMENT_REQUIRED else "", one.status): one for one in problems}.values())


async def _stats(visit: Visit, endpoints: Part | None) -> dict[str, Any] | None:
    """Deliveries of the last day: how many, how many arrived, how long the slowest took."""
    if endpoints is None or endpoints.answer is None:
        return None
    shown = [one["id"] for one in endpoints["data"][:ENDPOINTS_SHOWN]]
    path = "/v1/webhook-endpoints/{endpoint_id}/stats"
    found = await asyncio.gather(
        *(visit.api.part(visit.api.webhooks.get(path, endpoint_id=endpoint_id)) for endpoint_id in shown)
    )
    buckets = [bucket for part in found if part.answer is not None for bucket in part["buckets"]]
    delivered = sum(bucket["delivered"] for bucket in buckets)
    ended = delivered + sum(bucket["failed"] for bucket in buckets)
    slowest = max((bucket["latency_ms_p95"] or 0 for bucket in buckets), default=0)
    return {"ended": ended, "success": delivered / ended if ended else None, "p95": slowest}


def _needs(parts: dict[str, Part], now: datetime) -> list[Need]:
    """The most urgent first."""
    return [*_of_billing(parts, now), *_of_webhooks(parts), *_of_jobs(parts), *_of_keys(parts, now)]


def _of_billing(parts: dict[str, Part], now: datetime) -> list[Need]:
    part = parts.get("subscription")
    if part is None or part.answer is None:
        return []
    status, ends_at = part["status"], part["trial_ends_at"]
    # Where access has ended, every page says so.
    if status == "past_due":
        return [Need("bad", _("A payment is due."), _("Pay"), "/billing")]
    if status == "trialing" and ends_at is not None:
        left = datetime.fromisoformat(ends_at) - now
        if left < TRIAL_WARNING:
            text = ngettext("Your trial ends in %(num)d day.", "Your trial ends in %(num)d days.", max(left.days, 0))
            return [Need("warn", text % {"num": max(left.days, 0)}, _("Choose a plan"), "/billing")]
    return []


def _of_webhooks(parts: dict[str, Part]) -> list[Need]:
    part = parts.get("endpoints")
    found = []
    for one in part["data"] if part is not None and part.answer is not None else []:
        address = f"/webhooks/{one['id']}"
        if one["failing_since"] and one["enabled"]:
            found.append(Need("bad", _("{url} is failing.").format(url=one["url"]), _("See the endpoint"), address))
        elif not one["enabled"] and one["disabled_reason"] != "requested":
            text = _("{url} was disabled, because it kept failing.").format(url=one["url"])
            found.append(Need("bad", text, _("See the endpoint"), address))
    return found


def _of_jobs(parts: dict[str, Part]) -> list[Need]:
    found = []
    staging, imports = parts.get("staging"), parts.get("imports")
    if staging is not None and staging.answer is not None and staging["data"]:
        found.append(Need("warn", _("Jobs wait to be accepted."), _("See them"), "/jobs?status=staging"))
    failed = [one for one in imports["data"] if one["status"] == "failed"] if imports and imports.answer else []
    if failed:
        address = f"/imports/{failed[0]['id']}"
        found.append(Need("bad", _("An import has failed."), _("See why"), address))
    return found


def _of_keys(parts: dict[str, Part], now: datetime) -> list[Need]:
    part = parts.get("keys")
    soon = [
        one
        for one in (part["data"] if part is not None and part.answer is not None else [])
        if one["status"] == "active"
        and one["expires_at"]
        and datetime.fromisoformat(one["expires_at"]) - now < KEY_WARNING
    ]
    if not soon:
        return []
    text = ngettext("%(num)d API key expires soon.", "%(num)d API keys expire soon.", len(soon)) % {"num": len(soon)}
    return [Need("warn", text, _("See the keys"), "/settings/api-keys")]


def _steps(visit: Visit, parts: dict[str, Part]) -> list[Step]:
    """The way of a new company, for whoever may walk it."""
    names = ("merchants", "with_access", "jobs", "endpoints")
    if not all(name in parts and parts[name].answer is not None for name in names):
        return []
    merchant = '{"business_name": "Acme Meubles", "login_email": "acme@example.com", "level": 2}'
    job = (
        '{"merchant_id": "MERCHANT", "contact": {"first_name": "Ada", "phone": "+15145550100"},'
        ' "address": {"raw": "1 Rue Sherbrooke, Montréal"}}'
    )
    return [
        Step(True, _("Your first location is there"), "POST", "/v1/locations", '{"name": "Montréal"}'),
        Step(bool(parts["merchants"]["data"]), _("Create a merchant"), "POST", "/v1/merchants", merchant),
        Step(
            bool(parts["with_access"]["data"]), _("Give it API access"), "POST", "/v1/merchants/MERCHANT/api-access", ""
        ),
        Step(bool(parts["jobs"]["data"]), _("Create the first job"), "POST", "/v1/jobs", job),
        Step(
            bool(parts["endpoints"]["data"]),
            _("Receive the first webhook"),
            "POST",
            "/v1/webhook-endpoints",
            '{"url": "https://example.com/hooks", "event_types": ["*"], "location_ids": "*"}',
        ),
    ]
