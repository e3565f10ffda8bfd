"""Create many jobs in one request: each is checked on its own, and the answer reports each result."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from jobs import jobs
from jobs.bulk.rules import NotDone
from jobs.bulk.schemas import BulkIn, BulkItem, BulkResult, problem_of
from jobs.job_store import Job
from jobs.jobs import ReferenceTaken
from shared.access.principals import Caller
from shared.api.group_commit import Written
from shared.api.problems import members
from shared.errors import Conflict, WaybillError
from shared.messaging import outbox


class _AllOrNothing(Exception):
    """Rolls back an atomic request."""


async def create(session: AsyncSession, caller: Caller, requested: BulkIn, request_id: str) -> BulkResult:
    """Create these jobs according to the mode; returns the result of each, in their order."""
    try:
        async with session.begin_nested():
            results = await jobs.create_valid(session, caller, requested.items)
            if requested.mode == "atomic" and not all(isinstance(result, Written) for result in results):
                raise _AllOrNothing
    except _AllOrNothing:
        results = _none_created(results)
    for result in results:
        if isinstance(result, Written):
            for event in result.events:
                outbox.publish(session, event)
    shown = [_view(index, result, request_id) for index, result in enumerate(results)]
    created = sum(item.id is not None for item in shown)
    return BulkResult(mode=requested.mode, created=created, failed=len(shown) - created, results=shown)


def _none_created(results: Sequence[Written | WaybillError]) -> list[Written | WaybillError]:
    """The results when nothing is created. A reference that another item of the request has used is reported with that item's index."""
    indexes = {
        result.answer.id: index
        for index, result in enumerate(results)
        if isinstance(result, Written) and isinstance(result.answer, Job)
    }
    shown: list[Written | WaybillError] = []
    for result in results:
        if isinstance(result, Written):
            shown.append(NotDone("another item cannot be created, so none was"))
        elif isinstance(result, ReferenceTaken) and result.extra["existing_id"] in indexes:
            index = indexes[str(result.extra["existing_id"])]
            detail = f"item {index} of this request has the same reference_id"
            shown.append(Conflict(detail, code=result.problem_code, item_index=index))
        else:
            shown.append(result)
    return shown


def _view(index: int, result: Written | WaybillError, request_id: str) -> BulkItem:
    if isinstance(result, WaybillError):
        return BulkItem(index=index, status=result.status, problem=problem_of(members(result, request_id)))
    assert isinstance(result.answer, Job)
    return BulkItem(index=index, status=201, id=result.answer.id, job=result.answer)
