"""What jobs knows of tenants: read from events of any age, in any order, kept through an upgrade."""

import asyncio
import json
from uuid import uuid4

from sqlalchemy import text

from shared.events import identity
from shared.ids import new_id, to_uuid
from shared.postgres.database import Database
from shared.postgres.migrations import migrate
from tests.harness.bodies import smallest_job
from tests.harness.client import document, refused
from tests.harness.jobs import Jobs, Tenant
from tests.harness.stack import BackingStack

BEFORE_TENANT_SETTINGS = "0010"


async def first_status(tenant: Tenant) -> str:
    """The status of a new job of a merchant."""
    merchant = await tenant.create_merchant()
    return str(document(await merchant.api.post("/v1/jobs", smallest_job()), 201)["status"])


async def test_jobs_of_merchants_wait_for_review_where_the_tenant_wants_it(service: Jobs) -> None:
    tenant = await service.create_tenant()
    assert await first_status(tenant) == "new"

    await tenant.update(job_review=True)
    assert await first_status(tenant) == "staging"

    owner = await tenant.create_user(kind="owner")
    merchant = await tenant.create_merchant()
    assert document(await owner.post("/v1/jobs", smallest_job(merchant_id=merchant.id)), 201)["status"] == "new"


async def test_an_older_setting_changes_nothing(service: Jobs) -> None:
    tenant = await service.create_tenant()
    await tenant.update(job_review=True)
    older = service.people.tenant_updated(tenant)
    await tenant.update(job_review=False)

    await service.publish_access(older)

    assert await first_status(tenant) == "new"


async def test_an_event_from_before_the_setting_existed_asks_for_no_review(service: Jobs) -> None:
    tenant = await service.create_tenant()
    await tenant.update(job_review=True)
    tenant.version += 1
    event = service.people.tenant_updated(tenant)
    value = json.loads(event.value())
    del value["job_review"]

    await service.publish_record(identity.TOPIC, tenant.id, event.headers(), json.dumps(value).encode())
    await service.until_known(event)

    assert await first_status(tenant) == "new"


async def test_nothing_is_created_before_the_settings_of_the_tenant_are_known(service: Jobs) -> None:
    tenant = await service.create_tenant()
    merchant = await tenant.create_merchant()
    async with service.database.transaction() as session:
        await session.execute(text("DELETE FROM tenant_settings WHERE tenant_id = :id"), {"id": to_uuid(tenant.id)})

    refused(await merchant.api.post("/v1/jobs", smallest_job()), 503, "access_not_ready")

    assert await service.count(merchant) == 0


async def test_an_access_event_of_an_unknown_type_changes_nothing(service: Jobs) -> None:
    tenant = await service.create_tenant()
    merchant = await tenant.create_merchant()
    renamed = service.people.merchant_updated(merchant)
    headers = [
        (name, b"merchant.teleported" if name == "ce_type" else b"99" if name == "ce_sequence" else value)
        for name, value in renamed.headers()
    ]
    state = json.loads(renamed.value()) | {"status": "disabled", "api_access": False}

    await service.publish_record(identity.TOPIC, merchant.id, headers, json.dumps(state).encode())
    await merchant.update(business_name="After it")

    assert document(await merchant.api.post("/v1/jobs", smallest_job()), 201)["status"] == "new"
    async with service.database.reading() as session:
        found = await session.execute(
            text("SELECT version, active FROM access_subjects WHERE subject_id = :id"), {"id": to_uuid(merchant.id)}
        )
        assert tuple(found.one()) == (merchant.version, True)


async def test_settings_of_before_are_kept(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "jobs")
    await asyncio.to_thread(migrate, "jobs", url, BEFORE_TENANT_SETTINGS)
    database = Database(url, application_name="migrations")
    plain, reviewed = uuid4(), to_uuid(new_id("ten"))
    async with database.transaction() as session:
        for tenant_id, job_review in ((plain, False), (reviewed, True)):
            await session.execute(
                text(
                    "INSERT INTO access_tenants (tenant_id, version, name, status, livemode, job_review)"
                    " VALUES (:id, 7, 'T', 'active', true, :job_review)"
                ),
                {"id": tenant_id, "job_review": job_review},
            )

    await asyncio.to_thread(migrate, "jobs", url)

    async with database.reading() as session:
        rows = await session.execute(text("SELECT tenant_id, version, job_review FROM tenant_settings"))
        found = {tuple(row) for row in rows}
    await database.close()
    assert found == {(plain, 7, False), (reviewed, 7, True)}
