"""Many jobs at once: copies of a job that the API created, written by SQL with the service's own search tokens."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import text

from jobs.search_index import tokens
from shared.events.jobs import ActionState, JobState
from shared.ids import new_id, to_uuid
from tests.harness.jobs import Jobs
from tests.harness.people import Merchant

CHUNK_ROWS = 2_000

_COPY_JOBS = text(
    """
    INSERT INTO jobs
    SELECT copy.* FROM jobs AS job, jsonb_array_elements(CAST(:items AS jsonb)) AS item,
        LATERAL jsonb_populate_record(job, item || jsonb_build_object(
            'terms', array_to_tsvector(ARRAY(SELECT jsonb_array_elements_text(item -> 'terms')))::text
        )) AS copy
    WHERE job.id = :job_id
    """
)
_COPY_ACTIONS = text(
    """
    INSERT INTO actions
    SELECT copy.* FROM actions AS action, jsonb_array_elements(CAST(:items AS jsonb)) AS item,
        LATERAL jsonb_populate_record(action, item || jsonb_build_object(
            'terms', array_to_tsvector(ARRAY(SELECT jsonb_array_elements_text(item -> 'terms')))::text
        )) AS copy
    WHERE action.job_id = :job_id
    """
)
_GIN_INDEXES = text(
    """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename IN ('jobs', 'actions') AND indexdef LIKE '%USING gin%'
    """
)
_ANALYZE = text("ANALYZE jobs, actions")

Vary = Callable[[int, datetime], Mapping[str, Any]]
"""Returns the fields in which copy n differs, given n and the creation instant of the original; `sku` is of the action."""


async def copy_job(service: Jobs, merchant: Merchant, original: Mapping[str, Any], count: int, vary: Vary) -> None:
    """Create a job with one action through the API, then insert `count` copies of it by SQL."""
    created = await merchant.api.create_job(original)
    job = JobState.model_validate({name: created[name] for name in JobState.model_fields})
    async with _without_gin_indexes(service):
        for first in range(0, count, CHUNK_ROWS):
            numbers = range(first, min(first + CHUNK_ROWS, count))
            copies = [_copy(job, vary(number, job.created_at)) for number in numbers]
            jobs = [_job(merchant, one) for one in copies]
            actions = [_action(merchant, one, one.actions[0]) for one in copies]
            async with service.database.transaction() as session:
                for statement, items in ((_COPY_JOBS, jobs), (_COPY_ACTIONS, actions)):
                    await session.execute(statement, {"items": json.dumps(items), "job_id": to_uuid(job.id)})
    async with service.database.reading() as session:
        await session.execute(_ANALYZE)


@asynccontextmanager
async def _without_gin_indexes(service: Jobs) -> AsyncIterator[None]:
    """Drop the GIN indexes and create them afterwards: that is much faster than inserting row by row."""
    async with service.database.transaction() as session:
        indexes = (await session.execute(_GIN_INDEXES)).all()
        for name, _ in indexes:
            await session.execute(text(f"DROP INDEX {name}"))
    yield
    async with service.database.transaction() as session:
        for _, definition in indexes:
            await session.execute(text(definition))


def _copy(job: JobState, varied: Mapping[str, Any]) -> JobState:
    job_id, (action,) = new_id("job"), job.actions
    fields = {name: value for name, value in varied.items() if name != "sku"}
    times: dict[str, Any] = {name: fields[name] for name in ("created_at", "updated_at") if name in fields}
    same: dict[str, Any] = {"id": new_id("act"), "job_id": job_id, "sku": varied.get("sku", action.sku), **times}
    return job.model_copy(
        update={"reference_id": None, **fields, "id": job_id, "actions": [action.model_copy(update=same)]}
    )


def _job(merchant: Merchant, job: JobState) -> dict[str, Any]:
    row = job.model_dump(mode="json", exclude={"object", "actions", "merchant_id"})
    return row | {
        "id": str(to_uuid(job.id)),
        "location_id": str(to_uuid(job.location_id)),
        "distribution_location_id": job.distribution_location_id and str(to_uuid(job.distribution_location_id)),
        "terms": tokens.job_tokens(job, merchant.tenant.id),
        "parts": tokens.job_parts(job),
        "customer_key": tokens.customer_key(job.contact),
    }


def _action(merchant: Merchant, job: JobState, action: ActionState) -> dict[str, Any]:
    row = action.model_dump(mode="json", exclude={"object"})
    return row | {
        "id": str(to_uuid(action.id)),
        "job_id": str(to_uuid(job.id)),
        "terms": tokens.action_tokens(action, merchant.tenant.id, merchant.id),
        "parts": tokens.action_parts(action),
    }
