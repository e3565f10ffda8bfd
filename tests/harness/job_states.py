"""Jobs in any status, made through the HTTP API: a merchant creates them and a dispatcher runs the commands."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.harness.bodies import smallest_job
from tests.harness.client import Api, document
from tests.harness.jobs import Tenant
from tests.harness.people import Merchant

COMMANDS = ("accept", "assign", "start", "complete", "fail", "report-damage", "resolve", "cancel")
STATUSES = (
    "staging",
    "new",
    "in_progress",
    "completed",
    "partially_completed",
    "incomplete",
    "damaged",
    "resolved",
    "cancelled",
)
SAME = "="
"""The command has been run already: nothing changes."""

EXPECTED_TRANSITIONS: dict[str, dict[str, str]] = {
    "staging": {"accept": "new", "cancel": "cancelled"},
    "new": {"accept": SAME, "assign": "new", "start": "in_progress", "cancel": "cancelled"},
    "in_progress": {
        "start": SAME,
        "assign": "in_progress",
        "complete": "completed",
        "fail": "incomplete",
        "report-damage": "damaged",
        "cancel": "cancelled",
    },
    "completed": {"complete": SAME},
    "partially_completed": {"complete": SAME, "resolve": "resolved"},
    "incomplete": {"fail": SAME, "resolve": "resolved"},
    "damaged": {"report-damage": SAME, "resolve": "resolved"},
    "resolved": {"resolve": SAME},
    "cancelled": {"cancel": SAME},
}
"""The expected transitions, written by hand and not taken from the service. Every other command is refused."""

_PATHS = {
    "staging": (),
    "new": (),
    "in_progress": ("start",),
    "completed": ("start", "complete"),
    "partially_completed": ("start", "half", "complete"),
    "incomplete": ("start", "fail"),
    "damaged": ("start", "report-damage"),
    "resolved": ("start", "fail", "resolve"),
    "cancelled": ("cancel",),
}


@dataclass
class JobActors:
    """A merchant and a dispatcher of one tenant, in which merchants' jobs wait for review."""

    tenant: Tenant
    merchant: Merchant
    dispatch: Api

    async def order(self, *, review: bool = False, **more: Any) -> dict[str, Any]:
        """A new job with one action of two units; with `review` it is created by the merchant and waits in `staging`."""
        body = smallest_job(**{"actions": [{"quantity": 2}], **more})
        if review:
            return await self.merchant.api.create_job(body)
        return await self.dispatch.create_job({**body, "merchant_id": self.merchant.id})

    async def job(self, status: str, **more: Any) -> dict[str, Any]:
        """A job in this status."""
        job = await self.order(review=status == "staging", **more)
        for step in _PATHS[status]:
            if step == "half":
                await self.record_outcome(job, completed=1, incomplete=1)
            else:
                document(await self.command(job, step))
        job = await self.read(job)
        assert job["status"] == status
        return job

    async def command(self, job: dict[str, Any], name: str, *, by: Api | None = None, **options: Any) -> httpx.Response:
        """The response to a command."""
        if name == "assign" and not options.keys() & {"json", "content"}:
            options["json"] = {"assigned_to": "Van 7"}
        return await (by or self.dispatch).request("POST", f"/v1/jobs/{job['id']}/{name}", **options)

    async def record_outcome(self, job: dict[str, Any], place: int = 0, **outcome: Any) -> dict[str, Any]:
        """Record the outcome of one of the job's actions."""
        path = f"/v1/jobs/{job['id']}/actions/{job['actions'][place]['id']}/outcome"
        return document(await self.dispatch.post(path, outcome))

    async def read(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is now."""
        return await self.dispatch.read(f"/v1/jobs/{job['id']}")

    async def history(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The job's history, oldest first."""
        found: list[dict[str, Any]] = (await self.dispatch.read(f"/v1/jobs/{job['id']}/events?limit=200"))["data"]
        return found


async def job_actors(tenant: Tenant) -> JobActors:
    """The actors of this tenant; merchants' jobs wait for review."""
    await tenant.update(job_review=True)
    return JobActors(tenant, await tenant.create_merchant(), await tenant.create_user(permissions=["orders"]))
