"""Interrupted imports and exports: killed workers, broken connections, lost access."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from deploy.devstack.forks import Forker
from deploy.devstack.processes import free_ports
from jobs.imports import operations
from tests.harness.bodies import smallest_job
from tests.harness.client import basic
from tests.harness.job_files import accepted, ended, lines, send
from tests.harness.jobs import Jobs, running
from tests.harness.stack import BackingStack
from tests.harness.suite import Process
from tests.harness.waiting import eventually

ROWS = 6_000
KILLS = 3
PIECE_BYTES = 1024 * 1024
LARGE_JOBS = 6_000
FILE_BYTES_MAX = 40 * PIECE_BYTES

_SLOW_DOWN = (
    text(
        """
        CREATE FUNCTION take_a_moment() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$
        """
    ),
    text("CREATE TRIGGER take_a_moment AFTER INSERT ON jobs FOR EACH STATEMENT EXECUTE FUNCTION take_a_moment()"),
)
_SPEED_UP = text("DROP FUNCTION take_a_moment CASCADE")


@pytest.fixture(scope="module")
async def service(backing: BackingStack) -> AsyncIterator[Jobs]:
    """The service without its worker, which runs in other processes."""
    async with running(backing, roles="api,consumers,relay", import_bytes_max=FILE_BYTES_MAX) as jobs:
        yield jobs


@pytest.fixture
async def replicas(service: Jobs, forker: Forker | None, tmp_path: Path) -> AsyncIterator[list[Process]]:
    """Two processes with the roles `worker` and `api`, not started yet."""
    settings = service.settings
    made = []
    for number, port in enumerate(free_ports(2)):
        environment = {
            "JOBS_DATABASE_URL": settings.database_url,
            "JOBS_PORT": str(port),
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "WAYBILL_KAFKA_PREFIX": settings.kafka_prefix,
            "WAYBILL_KEY_PEPPERS": settings.key_peppers.get_secret_value(),
            "WAYBILL_SECRET": settings.secret.get_secret_value(),
            "WAYBILL_SIGNING_ROOTS": settings.signing_roots,
            "WAYBILL_ROLES": "api,worker",
            "WAYBILL_WRITE_SECONDS": "2",
            "JOBS_EXPORTS_MAX": "1",
            "JOBS_EXPORTS_PER_TENANT_MAX": "1",
        }
        made.append(Process("jobs", environment, tmp_path / f"jobs-{number}.log", f"http://127.0.0.1:{port}", forker))
    yield made
    for process in made:
        if process.popen is not None and process.popen.poll() is None:
            await asyncio.to_thread(process.stop)


@asynccontextmanager
async def slowly(service: Jobs) -> AsyncIterator[None]:
    """Make every insert of jobs slow, so that an import takes long enough to be interrupted."""
    async with service.database.transaction() as session:
        for statement in _SLOW_DOWN:
            await session.execute(statement)
    try:
        yield
    finally:
        async with service.database.transaction() as session:
            await session.execute(_SPEED_UP)


async def end_leases(service: Jobs) -> None:
    """What the time does after a worker was killed."""
    async with service.database.transaction() as session:
        await session.execute(text("UPDATE tasks SET next_at = now()"))


@pytest.mark.timeout(360)
async def test_killed_workers_neither_lose_nor_repeat_a_row(service: Jobs, replicas: list[Process]) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    asked = [smallest_job(reference_id=f"R-{number}") if number % 7 else {"contact": {}} for number in range(ROWS)]
    bad = sum(document == {"contact": {}} for document in asked)
    begun = await accepted(merchant.api, lines(asked))

    async def rows_done() -> int:
        return int((await merchant.api.read(f"/v1/job-imports/{begun['id']}"))["rows_done"])

    seen = 0
    async with slowly(service):
        for kill in range(KILLS):
            victim = replicas[kill % 2]
            victim.start()

            async def further(before: int = seen) -> bool:
                return await rows_done() > before + ROWS // 10

            await eventually(further, seconds=60, what="the import goes on")
            await asyncio.to_thread(victim.kill9)
            await end_leases(service)
            seen = await rows_done()
            assert seen < ROWS, "killed too late to show anything"
    for process in replicas:
        process.start()
    done = await ended(merchant.api, begun["id"])

    assert (done["status"], done["rows_done"], done["rows_total"]) == ("succeeded", ROWS, ROWS)
    assert (done["jobs_created"], done["rows_failed"]) == (ROWS - bad, bad)
    async with service.database.reading() as session:
        counts = text(
            """SELECT count(*), count(DISTINCT reference_id), (SELECT count(*) FROM import_errors),
            (SELECT count(DISTINCT line) FROM import_errors), (SELECT count(*) FROM job_history)
            FROM jobs"""
        )
        found = (await session.execute(counts)).one()
    assert tuple(found) == (ROWS - bad, ROWS - bad, bad, bad, ROWS - bad)
    published = await service.published(merchant.tenant, ROWS - bad)
    assert len({event.data.job.reference_id for event in published}) == ROWS - bad


async def test_a_stopped_worker_releases_its_import_at_once(service: Jobs, replicas: list[Process]) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    begun = await accepted(merchant.api, lines(smallest_job() for _ in range(ROWS)))

    async def going() -> bool:
        document = await merchant.api.read(f"/v1/job-imports/{begun['id']}")
        return bool(document["rows_done"])

    async with slowly(service):
        replicas[0].start()
        await eventually(going, seconds=60, what="the import goes on")
        assert await asyncio.to_thread(replicas[0].stop) == 0

    async with service.database.reading() as session:
        leases = await session.execute(text("SELECT count(*) FROM tasks WHERE lease_token IS NOT NULL"))
        assert leases.scalar_one() == 0
    assert (await merchant.api.post(f"/v1/job-imports/{begun['id']}/cancel")).status_code == 200


async def test_an_interrupted_upload_leaves_nothing(service: Jobs, replicas: list[Process]) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    replicas[0].start()
    await replicas[0].ready()
    host, port = replicas[0].url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    authorization = basic(merchant.account_id, merchant.key)["Authorization"]
    writer.write(
        f"POST /v1/job-imports HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {10 * PIECE_BYTES}\r\n\r\n".encode()
    )
    writer.write(lines([smallest_job()] * 20_000))
    await writer.drain()

    async def count(statement: str) -> int:
        async with service.database.reading() as session:
            return int((await session.execute(text(statement))).scalar_one())

    async def arriving() -> bool:
        return await count("SELECT count(*) FROM import_pieces") > 0

    await eventually(arriving, what="a piece has arrived")
    assert (await merchant.api.read("/v1/job-imports"))["data"] == []
    writer.close()

    async def gone() -> bool:
        return await count("SELECT count(*) FROM imports WHERE status = 'uploading'") == 0

    await eventually(gone, what="nothing is left of the file")
    assert await count("SELECT count(*) FROM import_pieces") == 0
    assert await service.count(merchant) == 0


async def test_a_file_that_is_too_large_is_refused(service: Jobs) -> None:
    merchant = await (await service.create_tenant()).create_merchant()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield (b" " * 99 + b"\n") * (PIECE_BYTES // 100)

    declared = await send(merchant.api, b"", headers={"Content-Length": str(FILE_BYTES_MAX + 1)})
    streamed = await send(merchant.api, endless())

    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["bytes_max"]) == (413, FILE_BYTES_MAX)
    assert (await merchant.api.read("/v1/job-imports"))["data"] == []
    async with service.database.reading() as session:
        assert (await session.execute(text("SELECT count(*) FROM imports WHERE bytes_total = 0"))).scalar_one() == 0


async def test_an_export_that_cannot_be_completed_breaks_the_connection(service: Jobs, replicas: list[Process]) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    replicas[0].start()
    await replicas[0].ready()
    # Much more than the buffers of both sides.
    content = lines(smallest_job(instructions="x" * 4_900) for _ in range(LARGE_JOBS))
    done = await ended(merchant.api, (await accepted(merchant.api, content))["id"])
    assert done["jobs_created"] == LARGE_JOBS

    received = 0

    async def read() -> None:
        nonlocal received
        async with (
            httpx.AsyncClient(base_url=replicas[0].url, timeout=30, trust_env=False) as client,
            client.stream("GET", "/v1/job-exports", headers=merchant.api.headers) as answer,
        ):
            assert answer.status_code == 200
            async for piece in answer.aiter_bytes():
                if not received:
                    await merchant.update(api_access=False)
                received += len(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert 0 < received < LARGE_JOBS * 4_900


async def test_exports_that_nobody_reads_do_not_keep_others_from_theirs(service: Jobs, replicas: list[Process]) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    other = await (await service.create_tenant()).create_merchant()
    replicas[0].start()
    await replicas[0].ready()
    # Much more than the buffers of both sides.
    content = lines(smallest_job(instructions="x" * 4_900) for _ in range(LARGE_JOBS))
    assert (await ended(merchant.api, (await accepted(merchant.api, content))["id"]))["jobs_created"] == LARGE_JOBS
    host, port = replicas[0].url.removeprefix("http://").split(":")
    authorization = basic(merchant.account_id, merchant.key)["Authorization"]
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /v1/job-exports HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    async with httpx.AsyncClient(base_url=replicas[0].url, timeout=30, trust_env=False) as client:

        async def status() -> int:
            return (await client.get("/v1/job-exports", headers=other.api.headers)).status_code

        async def possible() -> bool:
            return await status() == 200

        assert await status() == 503
        await eventually(possible, what="another tenant can export")
    # The connection was broken, so that nobody takes a part for the whole file.
    last = b""
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            last = piece
    assert not last.endswith(b"0\r\n\r\n")
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_an_abandoned_upload_is_deleted(service: Jobs) -> None:
    merchant = await (await service.create_tenant()).create_merchant()
    begun = await accepted(merchant.api, lines([smallest_job()]))
    async with service.database.transaction() as session:
        abandoned = text("UPDATE imports SET status = 'uploading', touched_at = now() - interval '61 minutes'")
        await session.execute(abandoned)

    async with service.database.transaction() as session:
        await operations.delete_stale(session)

    assert (await merchant.api.get(f"/v1/job-imports/{begun['id']}")).status_code == 404
    async with service.database.reading() as session:
        assert (await session.execute(text("SELECT count(*) FROM import_pieces"))).scalar_one() == 0
