"""Requests that are served together share a transaction or a query, and each gets its own result."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import pytest
from asyncpg import UniqueViolationError
from opentelemetry import trace
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.access import authorization
from shared.access.principals import Caller, Principal
from shared.api.group_commit import GroupCommit, Written
from shared.api.grouping import GroupRead
from shared.api.idempotency import Claim
from shared.crypto.encryptor import Encryptor
from shared.errors import Conflict, Forbidden, NotFound, WaybillError
from shared.events import billing
from shared.ids import new_id
from shared.observability import traces
from shared.postgres.database import Database
from tests.harness.services import open_database
from tests.harness.stack import BackingStack
from tests.harness.transport import database_with_shared_tables

RING = Encryptor({1: b"r" * 32})
CALLER = authorization.caller_for("pair", Principal(), livemode=True)
FORMER = authorization.caller_for("pair", Principal(), livemode=False)
"""A caller whose access has ended since its request was admitted."""


async def recheck(session: AsyncSession, callers: Sequence[Caller]) -> Sequence[Caller | WaybillError]:
    return [Forbidden("access has ended") if caller is FORMER else caller for caller in callers]


class Answer(BaseModel):
    word: str
    version: int = 1


class Writer:
    """Writes words into a table; some words misbehave. Remembers how large its groups were."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    async def write(self, session: AsyncSession, items: list[tuple[Caller, str]]) -> Sequence[Written | WaybillError]:
        words = [word for _, word in items]
        self.groups.append(len(words))
        results: list[Written | WaybillError] = []
        for word in words:
            if word.startswith("refused"):
                results.append(Conflict("not this word", current_status="taken"))
                continue
            if word.startswith("poison"):
                raise RuntimeError(word)
            await session.execute(text("INSERT INTO words (word) VALUES (:word)"), {"word": word})
            tenant_id = new_id("ten")
            state = billing.SubscriptionState(tenant_id=tenant_id, status="trialing", plan=word)
            event = billing.TrialStarted(tenant_id=tenant_id, subject=tenant_id, sequence=1, data=state)
            results.append(Written(Answer(word=word), (event,)))
        return results


@pytest.fixture(scope="module")
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    database = open_database(await database_with_shared_tables(backing), pool_size=4)
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE words (word text UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    yield database
    await database.close()


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def group(database: Database, writer: Writer) -> GroupCommit[str]:
    return GroupCommit(database, RING, recheck, writer.write, status_code=201)


def claim(key: str, question: str = "q") -> Claim:
    return Claim(key.encode().ljust(32, b"."), question.encode())


async def together(group: GroupCommit[str], *words: str) -> list[Response | BaseException]:
    return await asyncio.gather(*(group.submit(CALLER, word, None, "req") for word in words), return_exceptions=True)


async def kept(database: Database, prefix: str) -> set[str]:
    async with database.reading() as session:
        rows = await session.execute(text("SELECT word FROM words WHERE word LIKE :prefix"), {"prefix": f"%{prefix}%"})
        return set(rows.scalars())


async def test_writes_that_meet_share_a_transaction(
    database: Database, writer: Writer, group: GroupCommit[str]
) -> None:
    tag = secrets.token_hex(4)

    answers = await together(group, *(f"{tag}-{number}" for number in range(100)))

    assert all(isinstance(answer, Response) and answer.status_code == 201 for answer in answers)
    assert all(
        isinstance(answer, Response) and f"{tag}-{number}".encode() in bytes(answer.body)
        for number, answer in enumerate(answers)
    )
    assert len(await kept(database, tag)) == 100
    assert len(writer.groups) < 10


async def test_a_write_that_comes_as_the_last_writer_ends_is_not_forgotten(database: Database, writer: Writer) -> None:
    tag = secrets.token_hex(4)
    single = GroupCommit(database, RING, recheck, writer.write, status_code=201, writers=1)

    async with asyncio.timeout(60):
        for number in range(5):
            # Goes on in the very step in which the writer that answered has run out of work.
            await single.submit(CALLER, f"{tag}-{number}", None, "req")

    assert len(await kept(database, tag)) == 5


async def test_a_refusal_is_its_own(database: Database, group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)

    good, refused, other = await together(group, f"{tag}-1", f"refused-{tag}", f"{tag}-2")

    assert isinstance(good, Response)
    assert isinstance(other, Response)
    assert isinstance(refused, Conflict)
    assert await kept(database, tag) == {f"{tag}-1", f"{tag}-2"}


async def test_a_caller_whose_access_has_ended_writes_nothing_and_keeps_no_other_from_it(
    database: Database, group: GroupCommit[str]
) -> None:
    tag = secrets.token_hex(4)

    good, refused = await asyncio.gather(
        group.submit(CALLER, f"{tag}-1", claim(f"{tag}-1"), "req"),
        group.submit(FORMER, f"{tag}-2", claim(f"{tag}-2"), "req"),
        return_exceptions=True,
    )
    later = await group.submit(CALLER, f"{tag}-2", claim(f"{tag}-2"), "req")

    assert isinstance(good, Response)
    assert isinstance(refused, Forbidden)
    # The refusal was not stored under the key.
    assert "idempotency-replayed" not in later.headers
    assert await kept(database, tag) == {f"{tag}-1", f"{tag}-2"}


async def test_an_error_in_one_write_fails_no_other(database: Database, group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)

    answers = await together(group, f"{tag}-0", f"{tag}-1", f"poison-{tag}", f"{tag}-2")

    assert [isinstance(answer, Response) for answer in answers] == [True, True, False, True]
    assert isinstance(answers[2], RuntimeError)
    assert len(await kept(database, tag)) == 3


async def test_a_write_that_fails_at_commit_fails_no_other(database: Database, group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)
    await group.submit(CALLER, f"{tag}-taken", None, "req")

    answers = await together(group, f"{tag}-0", f"{tag}-1", f"{tag}-taken", f"{tag}-2")

    assert [isinstance(answer, Response) for answer in answers] == [True, True, False, True]
    assert isinstance(answers[2], UniqueViolationError)
    assert await kept(database, tag) == {f"{tag}-taken", f"{tag}-0", f"{tag}-1", f"{tag}-2"}


async def test_one_key_does_its_work_once_in_a_group_and_after_it(database: Database, group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)
    ours = claim(tag)

    answers = await asyncio.gather(
        *(group.submit(CALLER, f"{tag}-word", ours, "req") for _ in range(20)), return_exceptions=True
    )
    later = await group.submit(CALLER, f"{tag}-word", ours, "req")
    other = await asyncio.gather(group.submit(CALLER, f"{tag}-b", claim(tag, "another"), "req"), return_exceptions=True)

    done = [answer for answer in answers if isinstance(answer, Response)]
    assert done
    assert all(isinstance(answer, Response | Conflict) for answer in answers)
    assert len({bytes(answer.body) for answer in done}) == 1
    assert later.headers["idempotency-replayed"] == "true"
    assert bytes(later.body) == bytes(done[0].body)
    assert isinstance(other[0], WaybillError)
    assert other[0].problem_code == "idempotency_key_reused"
    assert await kept(database, tag) == {f"{tag}-word"}


async def test_a_refusal_under_a_key_is_kept(group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)

    first = await group.submit(CALLER, f"refused-{tag}", claim(tag), "req-1")
    again = await group.submit(CALLER, f"refused-{tag}", claim(tag), "req-2")

    assert (first.status_code, again.status_code) == (409, 409)
    assert bytes(first.body) == bytes(again.body)
    assert again.headers["idempotency-replayed"] == "true"


async def test_each_event_carries_the_trace_of_its_own_request(database: Database, group: GroupCommit[str]) -> None:
    tag = secrets.token_hex(4)
    trace_ids = {f"{tag}-{number}": secrets.token_hex(16) for number in range(8)}

    async def request(word: str) -> None:
        context = traces.extract({"traceparent": f"00-{trace_ids[word]}-{secrets.token_hex(8)}-01"})
        with trace.use_span(trace.get_current_span(context)):
            await group.submit(CALLER, word, None, "req")

    await asyncio.gather(*(request(word) for word in trace_ids))

    async with database.reading() as session:
        rows = (await session.execute(text("SELECT headers, convert_from(value, 'UTF8') AS value FROM outbox"))).all()
    found = {
        word: dict(row.headers)["traceparent"].split("-")[1] for row in rows for word in trace_ids if word in row.value
    }
    assert found == trace_ids


async def test_reads_that_are_pending_together_share_queries_and_get_each_its_own_answer(database: Database) -> None:
    groups: list[int] = []

    async def read(session: AsyncSession, numbers: list[int]) -> Sequence[int | WaybillError]:
        groups.append(len(numbers))
        found = await session.execute(
            text("SELECT n * 2 FROM unnest(CAST(:numbers AS int[])) AS n"), {"numbers": numbers}
        )
        return [
            NotFound("odd") if number % 2 else double for number, double in zip(numbers, found.scalars(), strict=True)
        ]

    reads = GroupRead(database, read)
    answers = await asyncio.gather(*(reads.one(number) for number in range(100)), return_exceptions=True)

    assert [answer for answer in answers if not isinstance(answer, Exception)] == list(range(0, 200, 4))
    assert sum(isinstance(answer, NotFound) for answer in answers) == 50
    assert sum(groups) == 100
    assert len(groups) <= 4


async def test_a_failed_query_is_an_error_for_its_group_alone(database: Database) -> None:
    async def read(session: AsyncSession, words: list[str]) -> Sequence[str]:
        if "poison" in words:
            raise RuntimeError("poison")
        return words

    reads = GroupRead(database, read)
    together = await asyncio.gather(reads.one("poison"), reads.one("innocent"), return_exceptions=True)

    assert next(type(answer) for answer in together) is RuntimeError
    assert await reads.one("innocent") == "innocent"
