"""Exports: complete, in order, accepted by imports, and only of visible jobs."""

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs import search
from jobs.file_formats import BOM, CsvColumns, CsvReader, format_heading, format_rows, parse_heading
from jobs.file_formats.csv_format import COLUMNS
from jobs.job_store import Job, JobIn
from shared.events.jobs import AddressState, ContactState
from tests.harness.bodies import smallest_job
from tests.harness.client import Api, refused
from tests.harness.job_files import imported, lines
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import Merchant
from tests.harness.waiting import eventually

EXPORT = "/v1/job-exports"
READ_ONLY = ("id", "merchant_id", "created_by", "created_at", "updated_at", "status_changed_at", "job_id")


async def documents(api: Api, **params: Any) -> list[dict[str, Any]]:
    """The jobs of an NDJSON export."""
    answer = await api.get(EXPORT, params={"format": "ndjson", **params})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.content.splitlines()]


async def csv_rows(api: Api, **params: Any) -> list[dict[str, str]]:
    """The rows of a CSV export, by column."""
    answer = await api.get(EXPORT, params={"format": "csv", **params})
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(BOM)
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def comparable(job: dict[str, Any]) -> dict[str, Any]:
    """The fields that a job and its imported copy have in common."""
    kept = {name: value for name, value in job.items() if name not in READ_ONLY}
    return {**kept, "actions": [comparable({**one, "actions": []}) for one in job["actions"]]}


def difficult_jobs(tenant: Tenant) -> list[dict[str, Any]]:
    """Jobs with quotes, line breaks, formulas and other content that is difficult in files."""
    whole = smallest_job(
        reference_id="A,1",
        type="exchange",
        short_description="Échange d’un canapé 🛋",
        scheduled_date="2026-12-24",
        time_window={"start": "08:00", "end": "24:00"},
        timezone="America/Vancouver",
        priority=7,
        contact={"last_name": 'O\'Neil "Bob"', "company": "=Analytical", "email": "ada@example.com"},
        address={"line1": "1 Rue X", "line2": "2 étage", "city": "Montréal", "postal_code": "H2X 1Y4", "country": "CA"},
        geo={"latitude": 0.00001, "longitude": -73.123456},
        location_id=tenant.toronto,
        distribution_location_id=tenant.default_location,
        balance_owed={"amount": 12_345, "currency": "CAD"},
        instructions='Ring "twice",\nthen wait.\r\n\tDone',
        invoices=["F-1", "F,2"],
        barcodes=["0001"],
        tags=["fragile", '"quoted"'],
        metadata={"shop": "42", "empty": "", "formula": "=1+1", "inner": "a;=1+1;'=2\t@x"},
        actions=[
            {
                "type": "pickup",
                "sku": "S-1",
                "quantity": 3,
                "weight_grams": 1_500,
                "value": {"amount": 999, "currency": "CAD"},
                "stop": {"name": "Depot", "address": {"raw": "3 Rue Z"}, "geo": {"latitude": 1, "longitude": 2}},
            },
            {"type": "return", "description": "=Sofa", "position": 1},
        ],
    )
    formulas = (
        "=1+1",
        "+cmd",
        "-1+1",
        "@SUM(A1)",
        "'=1",
        "''-x",
        "'",
        "-12.5",
        "+15145550100",
        "+1-514",
        "--",
        "'plain",
        "\uff1d1+1",
        "\u22121+1",
        "\u2014 see below",
        "a;=1+1",
        "2027-01-05",
        "08:00",
        "00123",
        "1E5",
        "TRUE",
        "MAR1",
        "'00123",
    )
    return [
        whole,
        smallest_job(),
        *(smallest_job(instructions=formula, short_description=formula) for formula in formulas),
    ]


@pytest.fixture
async def source(tenant: Tenant) -> Merchant:
    """A merchant with such jobs."""
    merchant = await tenant.create_merchant()
    for job in difficult_jobs(tenant):
        await merchant.api.create_job(job)
    return merchant


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_what_is_exported_can_be_imported_elsewhere(tenant: Tenant, source: Merchant, form: str) -> None:
    other = await tenant.create_merchant()
    exported = await source.api.get(EXPORT, params={"format": form, "sort": "created_at"})

    done = await imported(other.api, exported.content, csv=form == "csv")

    assert (done["status"], done["rows_failed"], done["jobs_created"]) == ("succeeded", 0, 25)
    originals, copies = await documents(source.api, sort="created_at"), await documents(other.api, sort="created_at")
    assert [comparable(job) for job in copies] == [comparable(job) for job in originals]
    assert {job["merchant_id"] for job in copies} == {other.id}


async def test_an_export_by_administrators_is_imported_for_the_same_merchants(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders"])
    for merchant in (one, other):
        await merchant.api.create_job()
    exported = await staff.get(EXPORT)

    done = await imported(staff, exported.content, csv=True)

    assert (done["jobs_created"], done["rows_failed"]) == (2, 0)
    assert (await tenant.service.count(one), await tenant.service.count(other)) == (2, 2)


async def test_a_csv_file_has_column_names_and_a_file_name(tenant: Tenant, source: Merchant) -> None:
    answer = await source.api.get(EXPORT)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="jobs-')
    assert answer.headers["content-disposition"].endswith('.csv"')
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.split(b"\r\n")[0] == BOM + ",".join(f'"{name}"' for name in COLUMNS).encode()
    (row,) = await csv_rows(source.api, reference_id="A,1")
    (job,) = await documents(source.api, reference_id="A,1")
    assert (row["id"], row["status"], row["version"], row["merchant_id"]) == (job["id"], "new", "1", source.id)
    assert json.loads(row["tags"]) == job["tags"]
    assert [action.get("sku") for action in json.loads(row["actions"])] == [action["sku"] for action in job["actions"]]


async def test_cells_of_a_csv_file_are_no_formulas_numbers_or_dates(source: Merchant) -> None:
    rows = await csv_rows(source.api)

    found = {row["instructions"] for row in rows} - {""}
    assert {"'=1+1", "'+cmd", "'-1+1", "'@SUM(A1)", "''=1", "'''-x", "'+1-514", "'--"} <= found
    assert {"'\uff1d1+1", "'\u22121+1", "'\u2014 see below", "'-12.5", "'+15145550100"} <= found
    assert {"'2027-01-05", "'08:00", "'00123", "'1E5", "'TRUE", "'MAR1", "''00123"} <= found
    assert {"'", "'plain", "a;'=1+1"} <= found
    (whole,) = [row for row in rows if row["reference_id"] == "A,1"]
    assert (whole["scheduled_date"], whole["time_window.start"]) == ("'2026-12-24", "'08:00")
    assert whole["time_window.end"] == "'24:00"
    assert (whole["geo.longitude"], whole["priority"], whole["version"]) == ("-73.123456", "7", "1")
    # Nor where another character separates cells.
    content = (await source.api.get(EXPORT)).content.decode("utf-8-sig")
    for row_of_cells in csv.reader(io.StringIO(content, newline=""), delimiter=";"):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row_of_cells), row_of_cells


TEXTS = st.text(alphabet="'=+-@ 1a;,\"/:.E\uff1d\u2212\u200b", min_size=1, max_size=8) | st.text(
    alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5
)


@given(instructions=TEXTS, first_name=TEXTS, raw=TEXTS)
def test_any_text_of_an_export_is_read_as_it_was(instructions: str, first_name: str, raw: str) -> None:
    contact = {"first_name": first_name, "phone": "+15145550100"}
    try:
        created = JobIn.model_validate({"instructions": instructions, "contact": contact, "address": {"raw": raw}})
    except ValidationError:
        reject()
    fields = {
        **dict.fromkeys(Job.model_fields),
        **created.model_dump(),
        "contact": ContactState(**created.contact.model_dump()),
        "address": AddressState(**created.address.model_dump()),
    }
    file = (format_heading() + format_rows([Job.model_construct(**fields)])).encode()

    reader = CsvReader(position=len(BOM))
    heading, row = [one for found in (*reader.feed(file[len(BOM) :]), *reader.finish()) for one in found]
    read = CsvColumns(parse_heading(heading.cells)).parse_job(row.cells, names_merchant=True)

    assert read == created


async def test_an_export_has_the_conditions_and_order_of_the_list(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.read"])
    asked = [smallest_job(reference_id=f"R-{number}", tags=["odd"] if number % 2 else []) for number in range(10)]
    assert (await imported(merchant.api, lines(asked)))["jobs_created"] == 10

    odd = [job["reference_id"] for job in await documents(merchant.api, tag="odd", sort="created_at")]
    latest = [job["reference_id"] for job in await documents(merchant.api, tag="odd")]

    assert odd == [f"R-{number}" for number in (1, 3, 5, 7, 9)]
    assert latest == odd[::-1]
    assert len(await documents(staff, merchant_id=merchant.id)) == 10
    assert await documents(merchant.api, status="completed") == []
    assert len((await merchant.api.get(EXPORT, params={"status": "completed"})).text.splitlines()) == 1
    for params in ({"limit": 5}, {"colour": "red"}, {"format": "xml"}, {"merchant_id": merchant.id}):
        assert (await merchant.api.get(EXPORT, params=params)).status_code == 422, params


async def test_an_export_covers_many_pages(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    asked = [smallest_job(reference_id=f"R-{number}") for number in range(1_203)]
    assert (await imported(merchant.api, lines(asked)))["jobs_created"] == 1_203

    exported = await documents(merchant.api)

    assert len(exported) == 1_203
    assert {job["reference_id"] for job in exported} == {job["reference_id"] for job in asked}
    assert exported == sorted(exported, key=lambda job: (job["created_at"], job["id"]), reverse=True)


async def test_merchants_export_their_own_jobs_alone(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.read"])
    writer = await tenant.create_user(permissions=["orders.jobs.write"])
    stranger = await (await tenant.service.create_tenant()).create_user(permissions=["orders"])
    job = await one.api.create_job()

    assert [found["id"] for found in await documents(one.api)] == [job["id"]]
    assert [found["id"] for found in await documents(await one.session())] == [job["id"]]
    assert [found["id"] for found in await documents(staff)] == [job["id"]]
    assert await documents(other.api) == []
    assert await documents(stranger) == []
    assert (await writer.get(EXPORT)).status_code == 403


async def test_the_number_of_concurrent_exports_is_bounded(service: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = [await service.create_tenant() for _ in range(3)]
    one, other, third = [await tenant.create_merchant() for tenant in tenants]
    of_tenant, of_all = service.settings.exports_per_tenant_max, service.settings.exports_max
    assert of_all == 2 * of_tenant
    read_page, held, reading = search.list_jobs, asyncio.Event(), 0

    async def read_held(*arguments: Any) -> Any:
        nonlocal reading
        reading += 1
        await held.wait()
        return await read_page(*arguments)

    monkeypatch.setattr(search, "list_jobs", read_held)

    running = [asyncio.create_task(one.api.get(EXPORT)) for _ in range(of_tenant)]
    await eventually(lambda: reading == of_tenant, what="the exports of a tenant are running")
    for _ in range(3):
        busy = await one.api.get(EXPORT)
        refused(busy, 429, "exports_running")
        assert int(busy.headers["Retry-After"]) > 0
    # One tenant alone does not keep others from theirs.
    running += [asyncio.create_task(other.api.get(EXPORT)) for _ in range(of_tenant)]
    await eventually(lambda: reading == of_all, what="the exports of another tenant are running")
    busy = await third.api.get(EXPORT)
    refused(busy, 503, "exports_busy")
    assert int(busy.headers["Retry-After"]) > 0
    held.set()

    assert {answer.status_code for answer in await asyncio.gather(*running)} == {200}
    for _ in range(of_all + 1):
        assert (await one.api.get(EXPORT, params={"status": "resolved"})).status_code == 200
    for _ in range(of_all + 1):
        assert (await one.api.get(EXPORT, params={"status": "none"})).status_code == 422


async def test_deleted_jobs_are_exported_only_on_request(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = await merchant.api.create_job()
    assert (await merchant.api.request("DELETE", f"/v1/jobs/{job['id']}")).status_code == 204

    assert await documents(merchant.api) == []
    (deleted,) = await documents(merchant.api, deleted="true")
    assert deleted["id"] == job["id"]


async def test_head_tells_of_an_export_without_making_it(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()

    for _ in range(10):  # more than may run at once
        head = await merchant.api.request("HEAD", EXPORT)

        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/csv")
        assert "attachment" in head.headers["content-disposition"]
