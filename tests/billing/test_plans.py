"""The file of plans: what is loaded, what is refused, and that nothing that was sold ever changes."""

import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from billing import plans
from billing.plans import Place, PlanChanged, PlanFile, PlanNotFound
from shared.postgres.database import Database
from tests.harness.billing import load_plans

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def new_code() -> str:
    return f"gold_{secrets.token_hex(6)}"


def entry(code: str, **more: Any) -> dict[str, Any]:
    usual = {"version": 1, "names": {"en": "Gold"}, "interval": "month", "currency": "CAD", "amount": 100}
    return {"code": code, **usual, **more}


async def load(database: Database, *entries: dict[str, Any]) -> int:
    async with database.transaction() as session:
        return await plans.load(session, PlanFile.model_validate({"plans": list(entries)}), NOW)


async def test_another_price_is_another_version_and_the_former_one_stays(database: Database) -> None:
    code = new_code()

    assert await load(database, entry(code)) == 1
    assert await load(database, entry(code)) == 0
    with pytest.raises(PlanChanged, match="amount is 100, the file says 200"):
        await load(database, entry(code, amount=200))
    assert await load(database, entry(code), entry(code, version=2, amount=200)) == 1

    async with database.reading() as session:
        on_sale = await plans.get_on_sale(session, code)
        former = (await plans.get_many(session, [plans.PlanRef(code, 1)]))[plans.PlanRef(code, 1)]
    assert (on_sale.version, on_sale.amount) == (2, 200)
    assert former.amount == 100


async def test_a_withdrawn_plan_is_not_sold_and_keeps_its_subscribers(database: Database) -> None:
    code = new_code()
    await load(database, entry(code))

    await load(database, entry(code, withdrawn=True))

    async with database.reading() as session:
        with pytest.raises(PlanNotFound):
            await plans.get_on_sale(session, code)
        assert plans.PlanRef(code, 1) in await plans.get_many(session, [plans.PlanRef(code, 1)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": -1},
        {"amount": 10**13},
        {"amount": 1.5},
        {"currency": "XXX"},
        {"currency": "cad"},
        {"interval": "week"},
        {"prize": 1},
    ],
    ids=lambda wrong: str(wrong),
)
def test_a_file_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlanFile.model_validate({"plans": [entry("gold", **wrong)]})


def test_a_version_stands_in_the_file_once() -> None:
    with pytest.raises(ValidationError, match="twice"):
        PlanFile.model_validate({"plans": [entry("gold"), entry("gold", amount=7)]})


GST = ("GST", 50_000)
IN_CANADA = {
    "": [GST],
    "AB": [GST],
    "BC": [GST, ("PST", 70_000)],
    "MB": [GST, ("RST", 70_000)],
    "NB": [("HST", 150_000)],
    "NL": [("HST", 150_000)],
    "NS": [("HST", 140_000)],
    "NT": [GST],
    "NU": [GST],
    "ON": [("HST", 130_000)],
    "PE": [("HST", 150_000)],
    "QC": [GST, ("QST", 99_750)],
    "SK": [GST, ("PST", 60_000)],
    "YT": [GST],
}


async def test_each_province_and_territory_has_its_own_taxes(database: Database) -> None:
    await load_plans(database)

    async with database.reading() as session:
        rates = await plans.tax_rates(session, [Place("CA", region) for region in IN_CANADA])

    found = {place.region: [(rate.name, rate.rate_ppm) for rate in of_place] for place, of_place in rates.items()}
    assert found == IN_CANADA
