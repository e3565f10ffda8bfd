"""Many merchants of one tenant, written at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text

from identity.app import create_service
from identity.config import Settings
from identity.merchants import MerchantRow
from identity.search_words import search_words
from shared.ids import new_id
from tests.harness.people import Tenant


async def write_merchants(settings: Settings, tenant: Tenant, count: int, named: Callable[[int], str]) -> None:
    """Write `count` merchants of this tenant, a second apart; PostgreSQL knows their statistics afterwards."""
    now = datetime.now(UTC)
    rows = [
        {
            "merchant_id": new_id("mer"),
            "tenant_id": tenant.id,
            "version": 1,
            "business_name": named(number),
            "login_email": f"m{number}@example.com",
            "reference_id": f"R-{number:06d}",
            "level": 2,
            "status": "active",
            "api_access": False,
            "location_ids": [tenant.default_location],
            "details": {},
            "sessions_valid_from": now,
            "livemode": False,
            "created_at": now - timedelta(seconds=count - number),
            "updated_at": now,
            "search_words": search_words(tenant.id, named(number), f"m{number}@example.com", f"R-{number:06d}"),
        }
        for number in range(count)
    ]
    service = create_service(settings)
    try:
        async with service.database.transaction() as session:
            await session.execute(insert(MerchantRow), rows)
        async with service.database.transaction() as session:
            await session.execute(text("ANALYZE merchants"))
    finally:
        await service.database.close()
