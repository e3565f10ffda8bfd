"""Databases of earlier revisions keep what they hold."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from identity.metadata import Base
from shared.ids import new_id, to_uuid
from shared.postgres.migrations import migrate
from tests.harness.schema_drift import drift
from tests.harness.services import open_database
from tests.harness.stack import BackingStack

BEFORE_ONE_AUDIT_TRAIL = "0004"


async def test_audit_events_of_before_are_those_of_identity(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "identity")
    await asyncio.to_thread(migrate, "identity", url, BEFORE_ONE_AUDIT_TRAIL)
    database = open_database(url)
    async with database.transaction() as session:
        await write(session, "merchant.created")

    await asyncio.to_thread(migrate, "identity", url)
    # A replica of the release before goes on while the new ones start.
    async with database.transaction() as session:
        await write(session, "merchant.updated")

    async with database.reading() as session:
        found = await session.execute(text("SELECT action, service, credential_id FROM audit_events ORDER BY action"))
        kept = [tuple(row) for row in found]
    assert kept == [("merchant.created", "identity", None), ("merchant.updated", "identity", None)]
    assert await asyncio.to_thread(drift, url, Base.metadata) == []
    await database.close()


async def write(session: AsyncSession, action: str) -> None:
    """Write an audit event as identity did before it listed those of all services."""
    await session.execute(
        text(
            "INSERT INTO audit_events (audit_id, tenant_id, created_at, actor, actor_kind, via, action, target, address, request_id)"
            " VALUES (:id, :tenant, :at, 'usr_1', 'owner', 'session', :action, 'mer_1', '192.0.2.1', 'req_1')"
        ),
        {"id": to_uuid(new_id("aud")), "tenant": to_uuid(new_id("ten")), "at": datetime.now(UTC), "action": action},
    )
