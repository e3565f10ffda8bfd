"""Read settings of tenants, merchants, and the status and time zone of locations, from the projections of identity's events."""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.reference_data import rules
from shared.errors import Unavailable, WaybillError
from shared.ids import from_uuid, known_uuid, to_uuid
from shared.postgres.driver_connection import driver_of

# For the driver: every group of new jobs asks for these.
_MERCHANTS = """
    SELECT subject_id, tenant_id, active, location_ids, default_location_id FROM access_subjects
    WHERE subject_id = ANY($1::uuid[]) AND kind = 'merchant'
"""
_JOB_REVIEW = "SELECT tenant_id, job_review FROM tenant_settings WHERE tenant_id = ANY($1::uuid[])"
_TIME_ZONE = text("SELECT timezone FROM access_locations WHERE location_id = :location_id")
_ACTIVE = text(
    "SELECT location_id, active FROM access_locations WHERE location_id = ANY(CAST(:location_ids AS uuid[]))"
)


async def get_merchants(
    session: AsyncSession, merchant_ids: Collection[str | None]
) -> dict[tuple[str, str], rules.Merchant]:
    """These merchants by tenant id and merchant id; unknown ones are missing."""
    named = [to_uuid(merchant_id) for merchant_id in merchant_ids if merchant_id is not None]
    if not named:
        return {}
    found = {}
    for subject_id, tenant_id, active, location_ids, default in await (await driver_of(session)).fetch(
        _MERCHANTS, named
    ):
        merchant_id = from_uuid("mer", subject_id)
        found[from_uuid("ten", tenant_id), merchant_id] = rules.Merchant(
            merchant_id,
            active,
            tuple(from_uuid("loc", location) for location in location_ids),
            None if default is None else from_uuid("loc", default),
        )
    return found


async def get_job_review(session: AsyncSession, tenant_ids: Collection[str]) -> dict[str, bool]:
    """Whether new jobs of merchants wait until dispatch accepts them, by tenant id; tenants that are not known yet are missing."""
    if not tenant_ids:
        return {}
    asked = [known_uuid(tenant_id) for tenant_id in tenant_ids]
    rows = await (await driver_of(session)).fetch(_JOB_REVIEW, asked)
    return {from_uuid("ten", tenant_id): job_review for tenant_id, job_review in rows}


async def check_locations(
    session: AsyncSession, location_id: str | None, distribution_location_id: str | None
) -> WaybillError | None:
    """The refusal of a job with these locations of its merchant: one of them is not active, or not known yet; None if both are active."""
    requested = [location for location in (location_id, distribution_location_id) if location is not None]
    rows = await session.execute(_ACTIVE, {"location_ids": [to_uuid(location) for location in requested]})
    active = {from_uuid("loc", row.location_id): row.active for row in rows}
    if any(location not in active for location in requested):
        # The merchant's events name it, so it exists: its own event has not been consumed yet.
        return Unavailable("a location of this merchant is not known yet", code="access_not_ready")
    return rules.inactive_locations(location_id, distribution_location_id, active)


async def get_time_zone(session: AsyncSession, location_id: str) -> str:
    """The time zone of a location that a job has."""
    found = await session.execute(_TIME_ZONE, {"location_id": to_uuid(location_id)})
    return str(found.scalar_one())
