"""Which records have changed by an event of jobs, and who may see them."""

from collections.abc import Iterable

from shared.events import Event
from shared.events.jobs import JobEvent
from shared.live import Audience

JOBS = "jobs"
IMPORTS = "job-imports"


def notices_of(event: Event) -> Iterable[tuple[Audience, str]]:
    """The job of an event, for those to whom `job_store.visible_to` shows it: its tenant in its mode, and its merchant."""
    if isinstance(event, JobEvent):
        change = event.data
        yield Audience(change.tenant_id, change.livemode, change.job.merchant_id), f"{JOBS}/{change.job.id}"
