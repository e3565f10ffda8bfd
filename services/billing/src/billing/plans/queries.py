"""Reads plans and taxes."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.plans.rules import Place, PlanNotFound, PlanRef, PlanTerms, RegionUnknown, TaxRate
from billing.plans.schemas import Plan
from billing.plans.tables import PlanRow, TaxRateRow

PLANS_MAX = 500


async def list_on_sale(session: AsyncSession) -> list[Plan]:
    """The newest version of each plan that is not withdrawn, by price."""
    newest = (
        select(PlanRow)
        .ext(distinct_on(col(PlanRow.code)))
        .order_by(col(PlanRow.code), col(PlanRow.version).desc())
        .limit(PLANS_MAX)
    )
    rows = (await session.execute(newest)).scalars().all()
    on_sale = [row for row in rows if not row.withdrawn]
    return [_view(row) for row in sorted(on_sale, key=lambda row: (row.currency, row.interval, row.amount, row.code))]


async def get_on_sale(session: AsyncSession, code: str) -> PlanTerms:
    """The newest version of a plan. Raises `PlanNotFound`, also when it is withdrawn."""
    newest = select(PlanRow).where(col(PlanRow.code) == code).order_by(col(PlanRow.version).desc()).limit(1)
    row = (await session.execute(newest)).scalar_one_or_none()
    if row is None or row.withdrawn:
        raise PlanNotFound(code)
    return terms_of(row)


async def get_many(session: AsyncSession, refs: Iterable[PlanRef]) -> Mapping[PlanRef, PlanTerms]:
    """These versions, whether they are on sale or not."""
    wanted = set(refs)
    if not wanted:
        return {}
    statement = select(PlanRow).where(tuple_(col(PlanRow.code), col(PlanRow.version)).in_(wanted))
    rows = (await session.execute(statement)).scalars().all()
    return {PlanRef(row.code, row.version): terms_of(row) for row in rows}


async def tax_rates(session: AsyncSession, places: Collection[Place]) -> Mapping[Place, Sequence[TaxRate]]:
    """The taxes on an invoice to each of these places: those of its region, or, where none are said, of the rest of its country."""
    countries = {place.country for place in places}
    statement = select(TaxRateRow).where(col(TaxRateRow.country).in_(countries))
    known = {Place(row.country, row.region): row.rates for row in (await session.execute(statement)).scalars()}

    def rates(place: Place) -> Sequence[TaxRate]:
        found = known.get(place) or known.get(Place(place.country)) or []
        return [TaxRate(rate["name"], rate["rate_ppm"]) for rate in found]

    return {place: rates(place) for place in places}


async def check_region(session: AsyncSession, place: Place) -> None:
    """Raises `RegionUnknown` where the taxes of a country differ by region, and this is none of them."""
    statement = select(col(TaxRateRow.region)).where(
        col(TaxRateRow.country) == place.country, col(TaxRateRow.region) != ""
    )
    regions = sorted((await session.execute(statement)).scalars())
    if regions and place.region and place.region not in regions:
        raise RegionUnknown(place.country, regions)


def terms_of(row: PlanRow) -> PlanTerms:
    """What this version costs and includes."""
    return PlanTerms(
        code=row.code,
        version=row.version,
        interval=row.interval,
        currency=row.currency,
        amount=row.amount,
        keeps_trial=row.keeps_trial,
        features=row.features,
        names=row.names,
    )


def _view(row: PlanRow) -> Plan:
    return Plan(
        plan=row.code,
        version=row.version,
        names=row.names,
        interval=row.interval,
        amount=row.amount,
        currency=row.currency,
        features=row.features,
        keeps_trial=row.keeps_trial,
    )
