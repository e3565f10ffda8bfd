"""Create many jobs in one request: each is checked on its own, and the answer reports each result."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from jobs import jobs
from jobs.bulk.rules import NotDone
from jobs.bulk.schemas import BulkIn, BulkItem, BulkResult, problem_of
from jobs.job_store import Job, JobIn
from jobs.jobs import ReferenceTaken
from shared.access.principals import Caller
from shared.api.group_commit import Written
from shared.api.problems import members
from shared.errors import Conflict, WaybillError
from shared.messaging import outbox


class _AllOrNothing(Exception):
    """Undoes what an atomic request has written."""


async def create(session: AsyncSession, caller: Caller, asked: BulkIn, request_id: str) -> BulkResult:
    """Create these jobs as their mode says; what became of each, in their order."""
    try:
        async with session.begin_nested():
            results = await _create_acceptable(session, caller, asked.items)
            if asked.mode == "atomic" and not all(isinstance(result, Written) for result in results):
                raise _AllOrNothing
    except _AllOrNothing:
        results = _none_created(results)
    for result in results:
        if isinstance(result, Written):
            for fact in result.facts:
                outbox.publish(session, fact)
    shown = [_view(index, result, request_id) for index, result in enumerate(results)]
    created = sum(item.id is not None for item in shown)
    return BulkResult(mode=asked.mode, created=created, failed=len(shown) - created, results=shown)


async def _create_acceptable(
    session: AsyncSession, caller: Caller, items: Sequence[JobIn | WaybillError]
) -> list[Written | WaybillError]:
    acceptable = [item for item in items if isinstance(item, JobIn)]
    orders = [jobs.Order(caller, item) for item in acceptable]
    created = iter(await jobs.create(session, orders) if orders else [])
    return [next(created) if isinstance(item, JobIn) else item for item in items]


def _none_created(results: Sequence[Written | WaybillError]) -> list[Written | WaybillError]:
    """What to say of each when nothing is kept. A reference that only an item of the same request had is nobody's now."""
    places = {
        result.answer.id: index
        for index, result in enumerate(results)
        if isinstance(result, Written) and isinstance(result.answer, Job)
    }
    shown: list[Written | WaybillError] = []
    for result in results:
        if isinstance(result, Written):
            shown.append(NotDone("another item cannot be created, so none was"))
        elif isinstance(result, ReferenceTaken) and result.extra["existing_id"] in places:
            index = places[str(result.extra["existing_id"])]
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
