"""Reindexes rows built by an older tokenizer version.

What is left to do is in the rows themselves (the token `TOKENIZER_VERSION`), so it continues after any interruption. Nothing else of a
row changes: neither its version nor its times.
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
"""In one transaction; each can have hundreds of actions."""

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
    UPDATE jobs SET terms = array_to_tsvector(filed.terms), parts = filed.parts, customer_key = filed.customer_key
    FROM jsonb_to_recordset(CAST(:filed AS jsonb)) AS filed (id uuid, terms text[], parts text, customer_key text)
    WHERE jobs.id = filed.id
    """
)
_UPDATE_ACTIONS = text(
    """
    UPDATE actions SET terms = array_to_tsvector(filed.terms), parts = filed.parts
    FROM jsonb_to_recordset(CAST(:filed AS jsonb)) AS filed (id uuid, terms text[], parts text)
    WHERE actions.id = filed.id
    """
)


async def reindex_batch(session: AsyncSession) -> int:
    """File some jobs anew, with their actions; how many there were. Those that somebody changes are filed by that change."""
    found = (await session.execute(_FIND_OUTDATED, {"jobs_max": REINDEX_JOBS_MAX})).scalars()
    job_ids = [from_uuid("job", job_id) for job_id in found]
    if not job_ids:
        return 0
    rows = (await session.execute(select(JobRow).where(col(JobRow.id).in_(job_ids)))).scalars().all()
    jobs = await with_actions(session, rows)
    owners = {row.id: (row.tenant_id, row.merchant_id) for row in rows}
    filed: list[dict[str, Any]] = [
        {
            "id": str(to_uuid(job.id)),
            "terms": search_index.job_tokens(job, owners[job.id][0]),
            "parts": search_index.job_parts(job),
            "customer_key": search_index.customer_key(job.contact),
        }
        for job in jobs
    ]
    await session.execute(_UPDATE_JOBS, {"filed": json.dumps(filed)})
    # Deleted ones, too: they may be restored with their job.
    actions = (await session.execute(select(ActionRow).where(col(ActionRow.job_id).in_(job_ids)))).scalars()
    filed = [
        {
            "id": str(to_uuid(action.id)),
            "terms": search_index.action_tokens(view_action(action), *owners[action.job_id]),
            "parts": search_index.action_parts(view_action(action)),
        }
        for action in actions
    ]
    await session.execute(_UPDATE_ACTIONS, {"filed": json.dumps(filed)})
    return len(jobs)
