"""Databases of earlier revisions are migrated to the present models without loss."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.api.cursors import Paging
from shared.events import Event
from shared.ids import from_uuid, new_id, to_uuid
from shared.postgres.migrations import migrate
from shared.tasks import store
from tests.harness.bodies import secret_32
from tests.harness.receiver import Receiver
from tests.harness.schema_drift import drift
from tests.harness.services import open_database, waiting_audit_events
from tests.harness.stack import BackingStack, migrated
from tests.harness.webhooks import DeliveryHarness, incoming_event, job_created
from webhooks import signatures
from webhooks.deliveries import details, queries
from webhooks.deliveries.schemas import DeliveryDetail, DeliveryFilters
from webhooks.metadata import Base
from webhooks.replays.operations import REPLAY_STEP

BEFORE_PARTITIONS = "0002"
BEFORE_ONE_AUDIT_TRAIL = "0009"
BEFORE_TASKS = "0006"
NOW = datetime.now(UTC)


@pytest.fixture
async def earlier(backing: BackingStack) -> AsyncIterator[DeliveryHarness]:
    """A tenant in a database of that revision."""
    url = await asyncio.to_thread(backing.create_database, "webhooks")
    await asyncio.to_thread(migrate, "webhooks", url, BEFORE_PARTITIONS)
    database = open_database(url)
    yield DeliveryHarness(database, f"1:{secret_32()}")
    await database.close()


async def execute(session: AsyncSession, table: str, **values: Any) -> None:
    columns = ", ".join(values)
    await session.execute(
        text(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{name}' for name in values)})"),
        values,
    )


async def add_endpoint(session: AsyncSession, harness: DeliveryHarness, url: str, *, enabled: bool = True) -> str:
    """An endpoint before it had a rate, an order and a failure streak."""
    endpoint_id = new_id("ep")
    await execute(
        session,
        "endpoints",
        id=to_uuid(endpoint_id),
        tenant_id=to_uuid(harness.tenant_id),
        livemode=True,
        url=url,
        description="",
        event_types=["*"],
        secret_sealed=harness.encryptor.encrypt(signatures.new_secret(), associated_data=endpoint_id),
        enabled=enabled,
        disabled_reason=None if enabled else "requested",
        created_by=new_id("usr"),
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return endpoint_id


async def add_event(session: AsyncSession, event: Event) -> None:
    """An event before it had a position in the feed."""
    found = incoming_event(event).event
    await execute(
        session,
        "events",
        id=found.id,
        tenant_id=found.tenant_id,
        livemode=True,
        type=found.type,
        location_ids=[],
        occurred_at=found.message.occurred_at,
        body=found.message.body,
    )


async def add_delivery(
    session: AsyncSession,
    harness: DeliveryHarness,
    event: Event,
    endpoint_id: str,
    *attempts: tuple[int | None, str | None],
    due_at: datetime | None = None,
    lease_token: int | None = None,
    **ended: Any,
) -> None:
    """A delivery with these attempts (status, cause); it is in the queue unless it has ended."""
    delivery_id = new_id("dlv")
    status, cause = attempts[-1] if attempts else (None, None)
    await execute(
        session,
        "deliveries",
        id=to_uuid(delivery_id),
        event_id=to_uuid(event.id),
        endpoint_id=to_uuid(endpoint_id),
        tenant_id=to_uuid(harness.tenant_id),
        livemode=True,
        event_type=event.type,
        attempts_made=len(attempts),
        response_status=status,
        cause=cause,
        next_attempt_at=due_at,
        updated_at=NOW,
        **ended,
    )
    for number, (status, cause) in enumerate(attempts, start=1):
        await execute(
            session,
            "attempts",
            delivery_id=to_uuid(delivery_id),
            number=number,
            started_at=NOW,
            latency_ms=number,
            response_status=status,
            cause=cause,
            response_body=f"answer {number}",
        )
    if due_at is not None:
        await execute(
            session,
            "delivery_due",
            delivery_id=to_uuid(delivery_id),
            endpoint_id=to_uuid(endpoint_id),
            due_at=due_at,
            lease_token=lease_token,
            retry=bool(attempts),
        )


async def detail(harness: DeliveryHarness, event: Event, endpoint_id: str) -> DeliveryDetail:
    """The delivery as the API shows it."""
    async with harness.database.reading() as session:
        page = await queries.list_deliveries(
            session,
            harness.caller,
            Paging(limit=50, cursor=None, scope="", secret=b""),
            DeliveryFilters(endpoint_id=endpoint_id),
            now=datetime.now(UTC),
        )
        (found,) = [one for one in page.data if one.event_id == event.id]
        return await details.get(session, harness.encryptor, harness.caller, found.id)


async def test_the_models_are_what_the_migrations_make(backing: BackingStack) -> None:
    url = await asyncio.to_thread(migrated, backing, "webhooks")

    # A second run has nothing to do.
    await asyncio.to_thread(migrate, "webhooks", url)

    assert await asyncio.to_thread(drift, url, Base.metadata) == []


async def test_rows_from_before_partitions_are_kept(earlier: DeliveryHarness, receiver: Receiver) -> None:
    harness, url = earlier, earlier.database.url
    accepted, refused, retried, held, unwanted = events = [job_created(harness.tenant_id) for _ in range(5)]
    async with harness.database.transaction() as session:
        endpoint_id = await add_endpoint(session, harness, receiver.url("/mine"))
        off = await add_endpoint(session, harness, receiver.url("/off"), enabled=False)
        for event in events:
            await add_event(session, event)
        await add_delivery(session, harness, accepted, endpoint_id, (500, "status"), (200, None), delivered_at=NOW)
        await add_delivery(session, harness, refused, off, (410, "status"), failed_at=NOW, failure="gone")
        await add_delivery(session, harness, retried, endpoint_id, (None, "timeout"), due_at=NOW)
        # In flight in a worker that is gone: due when its lease expires.
        await add_delivery(session, harness, held, endpoint_id, due_at=NOW + timedelta(seconds=1), lease_token=7)

    await asyncio.to_thread(migrate, "webhooks", url)

    assert await asyncio.to_thread(drift, url, Base.metadata) == []
    ended = [await detail(harness, accepted, endpoint_id), await detail(harness, refused, off)]
    assert [(one.status, one.attempts_made, one.failure) for one in ended] == [
        ("delivered", 2, None),
        ("failed", 1, "gone"),
    ]
    assert [(one.number, one.cause, one.latency_ms, one.response_body) for one in ended[0].attempts] == [
        (1, "status", 1, "answer 1"),
        (2, None, 2, "answer 2"),
    ]
    assert {
        one.enabled: one.disabled_at for one in await harness.rows("SELECT enabled, disabled_at FROM endpoints")
    } == {
        True: None,
        False: NOW,
    }

    async with harness.delivering() as worker:
        # Kafka may deliver again what was handled before.
        await harness.publish(*events, dispatcher=worker)
        for event in (retried, held):
            assert (await harness.finished(event.id)).status == "delivered"
    assert [one.number for one in (await detail(harness, retried, endpoint_id)).attempts] == [1, 2]
    assert {one.webhook_id for one in receiver.at("/mine")} == {retried.id, held.id}
    assert receiver.count == 2
    assert await harness.queued() == []

    new = job_created(harness.tenant_id)
    await harness.publish(new)
    positions = await harness.rows("SELECT id, body, subject FROM events ORDER BY position")
    assert [from_uuid("evt", one.id) for one in positions] == [*sorted(one.id for one in events), new.id]
    assert [(one.subject, one.body) for one in positions if from_uuid("evt", one.id) == unwanted.id] == [
        (unwanted.subject, incoming_event(unwanted).event.message.body)
    ]


async def test_replays_of_before_that_go_on_get_a_task(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "webhooks")
    await asyncio.to_thread(migrate, "webhooks", url, BEFORE_TASKS)
    database = open_database(url)
    ids = {status: new_id("rpl") for status in ("running", "completed")}
    async with database.transaction() as session:
        for status, replay_id in ids.items():
            await execute(
                session,
                "replays",
                id=to_uuid(replay_id),
                tenant_id=to_uuid(new_id("ten")),
                livemode=True,
                endpoint_id=to_uuid(new_id("ep")),
                kind="missing",
                since=NOW - timedelta(hours=1),
                until=NOW,
                dry_run=True,
                rate_per_second=1.0,
                status=status,
                after_position=0,
                after_event_id=to_uuid(new_id("evt")),
                next_step_at=NOW,
                examined=0,
                matched=0,
                queued=0,
                progress=0.0,
                created_by="usr",
                version=1,
                created_at=NOW,
                updated_at=NOW,
                finished_at=None if status == "running" else NOW,
            )

    await asyncio.to_thread(migrate, "webhooks", url)

    async with database.reading() as session:
        found = await store.list_tasks(session, kind=REPLAY_STEP, only_set_aside=False, rows_max=10)
    await database.close()
    assert [(row["key"], row["due_at"]) for row in found] == [(ids["running"], NOW)]


async def test_audit_events_of_before_are_published(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "webhooks")
    await asyncio.to_thread(migrate, "webhooks", url, BEFORE_ONE_AUDIT_TRAIL)
    database = open_database(url)
    tenant_id, endpoint_id, owner_id, key_id = new_id("ten"), new_id("ep"), new_id("usr"), new_id("key")
    owner = {"subject_id": to_uuid(owner_id), "tenant_id": to_uuid(tenant_id), "kind": "owner", "version": 1}
    async with database.transaction() as session:
        await execute(
            session,
            "access_subjects",
            **owner,
            active=True,
            permissions=[],
            api_access=False,
            location_ids=[],
            sessions_valid_from=NOW,
        )
        for actor in (owner_id, key_id, new_id("usr"), "unknown"):
            done = {"actor": actor, "action": "endpoint.created", "subject": endpoint_id, "at": NOW}
            await execute(session, "audit_events", tenant_id=to_uuid(tenant_id), **done)

    await asyncio.to_thread(migrate, "webhooks", url)

    assert await asyncio.to_thread(drift, url, Base.metadata) == []
    kept = [event.data for event in await waiting_audit_events(database)]
    assert [(state.actor, state.actor_kind, state.via, state.credential_id) for state in kept[:2]] == [
        (owner_id, "owner", "unknown", None),
        (key_id, "platform", "platform_key", key_id),
    ]
    assert [state.actor_kind for state in kept[2:]] == ["unknown", "unknown"]
    assert {(state.service, state.tenant_id, state.action, state.target, state.at) for state in kept} == {
        ("webhooks", tenant_id, "endpoint.created", endpoint_id, NOW)
    }
    await database.close()
