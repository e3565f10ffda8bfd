"""Loads the file of plans."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from billing.plans.rules import Place, PlanRef, check_unchanged
from billing.plans.schemas import PlanFile
from billing.plans.tables import PlanRow, TaxRateRow


async def load(session: AsyncSession, file: PlanFile, now: datetime) -> int:
    """Add the versions that are not known, withdraw and restore as the file says, and replace the taxes; returns how many are new.

    Raises `PlanChanged` when a known version differs; nothing is loaded then.
    """
    added = 0
    for entry in file.plans:
        row = await session.get(PlanRow, (entry.code, entry.version), with_for_update=True)
        if row is None:
            session.add(PlanRow(**entry.model_dump(), created_at=now))
            added += 1
        else:
            check_unchanged(PlanRef(entry.code, entry.version), entry.model_dump(), row.model_dump())
            row.withdrawn = entry.withdrawn
    await session.execute(delete(TaxRateRow))
    rates = defaultdict[Place, list[dict[str, Any]]](list)
    for tax in file.taxes:
        rates[Place(tax.country, tax.region)].append(tax.model_dump(include={"name", "rate_ppm"}))
    for place, of_place in rates.items():
        session.add(TaxRateRow(country=place.country, region=place.region, rates=of_place))
    return added
