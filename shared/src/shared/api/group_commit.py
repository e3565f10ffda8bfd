"""Group commit: small writes that are pending at the same time share one transaction.

Each write stays atomic and is answered after the commit. The group shares its statements, up to `batch_max` writes at a time. No write
waits for a group to fill: a free writer takes whatever is pending, even a single write.

The writes of a group must not depend on each other. A refusal is a value, not an exception, and leaves no rows. When a group fails as a
whole, its writes are tried one by one, so that no write fails because of another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.access.principals import Caller
from shared.api import idempotency, problems
from shared.api.grouping import BATCH_MAX, Groups
from shared.api.idempotency import STORED_ERRORS, Claim
from shared.api.responses import render
from shared.crypto.encryptor import Encryptor
from shared.errors import Unavailable, WaybillError
from shared.events import Event
from shared.messaging import outbox
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_transaction

log = structlog.get_logger(__name__)

WRITERS = 2
PENDING_MAX = 4096

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was done: the body of its response, and its events."""

    answer: BaseModel
    events: tuple[Event, ...] = ()


Recheck = Callable[[AsyncSession, Sequence[Caller]], Awaitable[Sequence[Caller | WaybillError]]]
"""`Access.recheck_all`."""
Write = Callable[[AsyncSession, list[tuple[Caller, ItemT]]], Awaitable[Sequence[Written | WaybillError]]]
"""Writes these items in the session; for each of them, in their order, the result or the refusal."""


@dataclass(slots=True)
class _Pending(Generic[ItemT]):
    caller: Caller
    item: ItemT
    claim: Claim | None
    request_id: str
    answered: "asyncio.Future[Response]"
    context: Context = field(default_factory=copy_context)
    """The request's context: its events carry its trace, although another task publishes them."""


class GroupCommit(Generic[ItemT]):
    """Commits writes in groups. `recheck` checks the access of all callers of a group again; `write` gets those who still have it."""

    def __init__(
        self,
        database: Database,
        encryptor: Encryptor,
        recheck: Recheck,
        write: Write[ItemT],
        *,
        status_code: int,
        batch_max: int = BATCH_MAX,
        writers: int = WRITERS,
    ):
        self._database = database
        self._encryptor = encryptor
        self._recheck = recheck
        self._write = write
        self._status_code = status_code
        self._groups: Groups[_Pending[ItemT]] = Groups(self._settle, batch_max=batch_max, tasks_max=writers)

    async def submit(self, caller: Caller, item: ItemT, claim: Claim | None, request_id: str) -> Response:
        """The response to one write, after its commit. Raises the refusal of `write`, or `Unavailable` when too many are waiting."""
        if len(self._groups) >= PENDING_MAX:
            raise Unavailable("too many writes are waiting", code="overloaded")
        pending = _Pending(caller, item, claim, request_id, asyncio.get_running_loop().create_future())
        self._groups.add(pending)
        return await pending.answered

    async def _settle(self, group: list[_Pending[ItemT]]) -> None:
        try:
            answers = await self._commit(group)
        except Exception as error:
            if len(group) > 1:
                log.warning("group_failed", writes=len(group), error=repr(error))
                for pending in group:
                    await self._settle([pending])
                return
            answers = [error]
        for pending, answer in zip(group, answers, strict=True):
            if pending.answered.done():
                continue
            if isinstance(answer, Response):
                pending.answered.set_result(answer)
            else:
                pending.answered.set_exception(answer)

    async def _commit(self, group: list[_Pending[ItemT]]) -> list[Response | Exception]:
        async with driver_transaction(self._database) as session:
            answers = await self._recall(session, group)
            todo = [place for place, answer in enumerate(answers) if answer is None]
            results = await self._do(session, [group[place] for place in todo]) if todo else []
            stored: list[tuple[Claim, Response]] = []
            for place, result in zip(todo, results, strict=True):
                pending = group[place]
                answer = answers[place] = self._answer(session, pending, result)
                if pending.claim is not None and isinstance(answer, Response):
                    stored.append((pending.claim, answer))
            if stored:
                await idempotency.store(session, stored, self._encryptor)
        return [answer for answer in answers if answer is not None]

    async def _do(self, session: AsyncSession, group: list[_Pending[ItemT]]) -> list[Written | WaybillError]:
        """Write for those callers who still have access."""
        callers = await self._recheck(session, [pending.caller for pending in group])
        items = [
            (caller, pending.item)
            for caller, pending in zip(callers, group, strict=True)
            if not isinstance(caller, WaybillError)
        ]
        results = iter(await self._write(session, items) if items else ())
        return [caller if isinstance(caller, WaybillError) else next(results) for caller in callers]

    async def _recall(self, session: AsyncSession, group: list[_Pending[ItemT]]) -> list[Response | Exception | None]:
        answers: list[Response | Exception | None] = [None] * len(group)
        claims = [(place, pending.claim) for place, pending in enumerate(group) if pending.claim is not None]
        if claims:
            found = await idempotency.recall(session, [claim for _, claim in claims], self._encryptor)
            for (place, _), answer in zip(claims, found, strict=True):
                answers[place] = answer
        return answers

    def _answer(
        self, session: AsyncSession, pending: _Pending[ItemT], result: Written | WaybillError
    ) -> Response | WaybillError:
        if isinstance(result, Written):
            for event in result.events:
                pending.context.run(outbox.publish, session, event)
            return render(result.answer, self._status_code)
        if pending.claim is not None and isinstance(result, STORED_ERRORS):
            return problems.problem(result, pending.request_id)
        return result
