"""Reindexes rows built by an older tokenizer version.

A row that lacks the token `TOKENIZER_VERSION` is outdated, so the work continues after any interruption. Only tokens, `parts` and the
customer key change, neither the version nor the instants of a job.
"""

import json
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.job_store import OUTDATED_TOKENS, ActionRow, JobRow, view_action, with_actions
from shared.ids import from_uuid, to_uuid

REINDEX_JOBS_MAX = 50
"""Jobs per transaction; each can have hundreds of actions."""

_FIND_OUTDATED = text(
    f"""
    SELECT id FROM jobs WHERE id = ANY(ARRAY(
        (SELECT id FROM jobs WHERE {OUTDATED_TOKENS} LIMIT :jobs_max)
        UNION
        (SELECT job_id FROM actions WHERE {OUTDATED_TOKENS} LIMIT :jobs_max)
        LIMIT :jobs_max
    ))
    ORDER BY id FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - a constant
)
_UPDATE_JOBS = text(
    """
    UPDATE jobs SET terms = array_to_tsvector(entry.terms), parts = entry.parts, customer_key = entry.customer_key
    FROM jsonb_to_recordset(CAST(:entries AS jsonb)) AS entry (id uuid, terms text[], parts text, customer_key text)
    WHERE jobs.id = entry.id
    """
)
_UPDATE_ACTIONS = text(
    """
    UPDATE actions SET terms = array_to_tsvector(entry.terms), parts = entry.parts
    FROM jsonb_to_recordset(CAST(:entries AS jsonb)) AS entry (id uuid, terms text[], parts text)
    WHERE actions.id = entry.id
    """
)


async def reindex_batch(session: AsyncSession) -> int:
    """Reindex some outdated jobs with their actions; returns the number of jobs.

    Jobs that a change has locked are skipped: the change writes their tokens.
    """
    found = (await session.execute(_FIND_OUTDATED, {"jobs_max": REINDEX_JOBS_MAX})).scalars()
    job_ids = [from_uuid("job", job_id) for job_id in found]
    if not job_ids:
        return 0
    rows = (await session.execute(select(JobRow).where(col(JobRow.id).in_(job_ids)))).scalars().all()
    jobs = await with_actions(session, rows)
    owners = {row.id: (row.tenant_id, row.merchant_id) for row in rows}
    job_entries: list[dict[str, Any]] = [
        {
            "id": str(to_uuid(job.id)),
            "terms": search_index.job_tokens(job, owners[job.id][0]),
            "parts": search_index.job_parts(job),
            "customer_key": search_index.customer_key(job.contact),
        }
        for job in jobs
    ]
    await session.execute(_UPDATE_JOBS, {"entries": json.dumps(job_entries)})
    # Deleted actions, too: they can be restored with their job.
    actions = (await session.execute(select(ActionRow).where(col(ActionRow.job_id).in_(job_ids)))).scalars()
    action_entries = [
        {
            "id": str(to_uuid(action.id)),
            "terms": search_index.action_tokens(view_action(action), *owners[action.job_id]),
            "parts": search_index.action_parts(view_action(action)),
        }
        for action in actions
    ]
    await session.execute(_UPDATE_ACTIONS, {"entries": json.dumps(action_entries)})
    return len(jobs)
