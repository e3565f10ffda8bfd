"""Rows that were filed by rules of before are filed anew: by words they are found only then.

Any number of replicas do this side by side, a few jobs in each transaction and a pause after each. What is still to do stands in the rows
themselves (`terms.RULES`), so it goes on wherever it was interrupted. Nothing else of a row changes: neither its version nor its times.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.domain import terms
from jobs.models.tables import UNFILED, ActionRow, JobRow
from jobs.rows import action_of, with_actions
from shared.ids import from_uuid, to_uuid
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

JOBS_MAX = 50
"""In one transaction; each can have hundreds of actions."""
PAUSE_SECONDS = 0.05
PERIOD_SECONDS = 60.0
"""Replicas of an older release may still write while a newer one is started."""

_FIND = text(
    f"""
    SELECT id FROM jobs WHERE id = ANY(ARRAY(
        (SELECT id FROM jobs WHERE {UNFILED} LIMIT :jobs_max)
        UNION
        (SELECT job_id FROM actions WHERE {UNFILED} LIMIT :jobs_max)
        LIMIT :jobs_max
    ))
    ORDER BY id FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - a constant
)
_FILE_JOBS = text(
    """
    UPDATE jobs SET terms = array_to_tsvector(filed.terms), parts = filed.parts, customer_key = filed.customer_key
    FROM jsonb_to_recordset(CAST(:filed AS jsonb)) AS filed (id uuid, terms text[], parts text, customer_key text)
    WHERE jobs.id = filed.id
    """
)
_FILE_ACTIONS = text(
    """
    UPDATE actions SET terms = array_to_tsvector(filed.terms), parts = filed.parts
    FROM jsonb_to_recordset(CAST(:filed AS jsonb)) AS filed (id uuid, terms text[], parts text)
    WHERE actions.id = filed.id
    """
)


def filing(database: Database) -> Callable[[], Awaitable[None]]:
    """A part's `run`: file anew what has to be, until cancelled."""

    async def run() -> None:
        while True:
            async with database.transaction() as session:
                filed = await refile(session)
            if filed:
                log.info("jobs_filed_anew", jobs=filed)
            await asyncio.sleep(PAUSE_SECONDS if filed else PERIOD_SECONDS)

    return run


async def refile(session: AsyncSession) -> int:
    """File some jobs anew, with their actions; how many there were. Those that somebody changes are filed by that change."""
    found = (await session.execute(_FIND, {"jobs_max": JOBS_MAX})).scalars()
    job_ids = [from_uuid("job", job_id) for job_id in found]
    if not job_ids:
        return 0
    rows = (await session.execute(select(JobRow).where(col(JobRow.id).in_(job_ids)))).scalars().all()
    jobs = await with_actions(session, rows)
    owners = {row.id: (row.tenant_id, row.merchant_id) for row in rows}
    filed: list[dict[str, Any]] = [
        {
            "id": str(to_uuid(job.id)),
            "terms": terms.job_terms(job, owners[job.id][0]),
            "parts": terms.job_parts(job),
            "customer_key": terms.customer_key(job.contact),
        }
        for job in jobs
    ]
    await session.execute(_FILE_JOBS, {"filed": json.dumps(filed)})
    # Deleted ones, too: they may be restored with their job.
    actions = (await session.execute(select(ActionRow).where(col(ActionRow.job_id).in_(job_ids)))).scalars()
    filed = [
        {
            "id": str(to_uuid(action.id)),
            "terms": terms.action_terms(action_of(action), *owners[action.job_id]),
            "parts": terms.action_parts(action_of(action)),
        }
        for action in actions
    ]
    await session.execute(_FILE_ACTIONS, {"filed": json.dumps(filed)})
    return len(jobs)
