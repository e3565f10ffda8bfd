"""Imports: every row results in one job or one error, and only its owner sees an import."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from jobs.imports.file_intake import UPLOADING_MAX
from jobs.imports.schemas import ERRORS_KEPT_MAX
from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.job_files import accepted, ended, errors, imported, lines, parser_counted, send
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import Merchant
from tests.harness.waiting import eventually

HEADING = "reference_id,contact.first_name,contact.phone,address.raw,instructions,tags\r\n"


@pytest.fixture
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one row, so that an import of many rows takes some time."""
    monkeypatch.setattr("jobs.imports.worker.BATCH_ROWS", 1)


async def references(merchant: Merchant) -> list[str]:
    """The references of all jobs of a merchant (one page)."""
    answer = await merchant.api.get("/v1/jobs", params={"limit": 200, "sort": "created_at"})
    return [job["reference_id"] for job in answer.json()["data"]]


async def rows(service: Jobs, table: str) -> int:
    """The number of rows of a table."""
    async with service.database.reading() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


def csv_row(reference: str, **more: str) -> str:
    cells = [
        reference,
        "Ada",
        "+15145550100",
        '"1 Rue X, Montréal"',
        more.get("instructions", ""),
        more.get("tags", ""),
    ]
    return ",".join(cells) + "\r\n"


async def test_each_line_of_json_becomes_a_job(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    asked = [smallest_job(reference_id=f"R-{number}", tags=["é", "b"]) for number in range(250)]

    first = await accepted(merchant.api, lines(asked))

    assert (first["object"], first["status"], first["rows_total"]) == ("import", "queued", None)
    assert first["id"].startswith("imp_")
    done = await ended(merchant.api, first["id"])
    assert done["status"] == "succeeded"
    assert (done["rows_total"], done["rows_done"], done["jobs_created"], done["rows_failed"]) == (250, 250, 250, 0)
    assert done["bytes_done"] == done["bytes_total"] == len(lines(asked))
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    assert (done["created_by"], done["merchant_id"]) == (merchant.id, merchant.id)
    assert await tenant.service.count(merchant) == 250
    job = (await merchant.api.read("/v1/jobs", params={"reference_id": "R-249"}))["data"][0]
    assert (job["tags"], job["created_by"], job["status"], job["version"]) == (["é", "b"], merchant.id, "new", 1)
    published = await tenant.service.published(tenant, 250)
    assert len({event.subject for event in published}) == 250


async def test_each_row_of_csv_becomes_a_job(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    sheet = (
        "\ufeff"
        "reference_id,type,contact.first_name,contact.phone,address.line1,address.city,geo.latitude,geo.longitude,"
        "priority,balance_owed.amount,balance_owed.currency,instructions,tags,metadata,actions,scheduled_date\n"
        'A,pickup,Zoë,+1 514 555 0100,1 Rue X,Montréal,45.5,-73,7,1250,CAD,"Ring ""twice"".\nThen wait, please.",'
        '"[""fragile"",""a""]","{""shop"":""7""}","[{""sku"":""S-1"",""quantity"":2}]",2030-01-31\n'
        "\n"
        ",,Ada,,2 Rue Y,,,,,,,'=1+1,,,,\n"
    )

    done = await imported(merchant.api, sheet.encode(), csv=True)

    assert (done["status"], done["format"], done["rows_total"], done["jobs_created"]) == ("succeeded", "csv", 2, 2)
    first, second = (await merchant.api.read("/v1/jobs", params={"sort": "created_at"}))["data"]
    assert (first["reference_id"], first["type"], first["priority"]) == ("A", "pickup", 7)
    assert first["contact"]["phone"] == "+15145550100"
    assert first["geo"] == {"latitude": 45.5, "longitude": -73}
    assert first["balance_owed"] == {"amount": 1250, "currency": "CAD"}
    assert first["instructions"] == 'Ring "twice".\nThen wait, please.'
    assert (first["tags"], first["metadata"], first["scheduled_date"]) == (
        ["fragile", "a"],
        {"shop": "7"},
        "2030-01-31",
    )
    assert [(action["sku"], action["quantity"]) for action in first["actions"]] == [("S-1", 2)]
    assert second["instructions"] == "=1+1"


async def test_every_refused_row_has_its_line_and_reason(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job(smallest_job(reference_id="TAKEN"))
    sheet = [
        csv_row("A", instructions='"line one\nline two"'),  # 2 and 3
        csv_row("BAD-PHONE").replace("+15145550100", "12"),  # 4
        csv_row("TAKEN"),  # 5
        csv_row("A"),  # 6
        "too,many,+15145550100,cells,,,in this row\r\n",  # 7
        csv_row("BAD-JSON", tags="fragile"),  # 8
        csv_row("BROKEN", instructions='"a"b"'),  # 9
        csv_row("LATIN").replace("Ada", "Zo\udceb"),  # 10: not UTF-8
        csv_row("LONG", instructions="x" * 300_000),  # 11
        csv_row("OPEN", instructions='"never closed'),  # 12
        csv_row("LAST").rstrip(),  # 13
    ]

    done = await imported(merchant.api, (HEADING + "".join(sheet)).encode(errors="surrogateescape"), csv=True)

    assert (done["status"], done["rows_done"], done["jobs_created"], done["rows_failed"]) == ("succeeded", 11, 2, 9)
    assert done["rows_total"] == 11
    found = {error["line"]: error for error in await errors(merchant.api, done["id"])}
    assert {line: (error["status"], error["code"]) for line, error in found.items()} == {
        4: (422, "invalid"),
        5: (409, "reference_id_taken"),
        6: (409, "reference_id_taken"),
        7: (422, "invalid"),
        8: (422, "invalid"),
        9: (422, "csv_malformed"),
        10: (422, "encoding"),
        11: (422, "too_long"),
        12: (422, "csv_malformed"),
    }
    assert found[4]["reference_id"] == "BAD-PHONE"
    assert found[4]["errors"][0]["pointer"] == "/contact/phone"
    assert found[7]["errors"][0]["code"] == "cells_count"
    assert found[8]["errors"] == [
        {"pointer": "/tags", "code": "json_malformed", "message": found[8]["errors"][0]["message"]}
    ]
    assert sorted(await references(merchant)) == ["A", "LAST", "TAKEN"]


async def test_refused_lines_do_not_stop_the_others(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    good = json.dumps(smallest_job(reference_id="GOOD")).encode()
    content = b"\n".join(
        [
            b"\xef\xbb\xbf" + good,
            b"{not json",
            b"[]",
            b"",
            b'{"contact": {"first_name": "\xff"}, "address": {"raw": "X"}}',
            b'{"reference_id": "NUL", "contact": {"first_name": "a\\u0000"}, "address": {"raw": "X"}}',
            b'{"reference_id": "COLOUR", "colour": 1, "contact": {"first_name": "a"}, "address": {"raw": "X"}}',
            b"{" * 5_000,
            b'"' + b"x" * 700_000 + b'"',
            good.replace(b"GOOD", b"ALSO"),
        ]
    )

    done = await imported(merchant.api, content)

    assert (done["status"], done["jobs_created"], done["rows_failed"]) == ("succeeded", 2, 7)
    found = {error["line"]: (error["code"], error["reference_id"]) for error in await errors(merchant.api, done["id"])}
    assert found == {
        2: ("json_malformed", None),
        3: ("invalid", None),
        5: ("encoding", None),
        6: ("invalid", None),
        7: ("invalid", "COLOUR"),
        8: (found[8][0], None),
        9: ("too_long", None),
    }


async def test_a_dry_run_reports_results_and_stores_no_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job(smallest_job(reference_id="TAKEN"))
    content = lines([smallest_job(reference_id="FREE"), smallest_job(reference_id="TAKEN"), {"contact": {}}])

    done = await imported(merchant.api, content, params={"dry_run": "true"})

    assert (done["status"], done["dry_run"]) == ("succeeded", True)
    assert (done["rows_done"], done["jobs_created"], done["rows_failed"]) == (3, 0, 2)
    assert [error["status"] for error in await errors(merchant.api, done["id"])] == [409, 422]
    assert await service.count(merchant) == 1
    real = await imported(merchant.api, content)
    assert (real["jobs_created"], real["rows_failed"]) == (1, 2)
    published = await service.published(tenant, 2)
    assert {event.data.job.reference_id for event in published} == {"FREE", "TAKEN"}


async def test_a_dry_run_finds_a_repeated_reference_in_another_batch(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    asked = [smallest_job(reference_id=f"R-{number % 300}") for number in range(301)]

    done = await imported(merchant.api, lines(asked), params={"dry_run": "true"})

    assert (done["rows_done"], done["rows_failed"]) == (301, 1)
    (error,) = await errors(merchant.api, done["id"])
    assert (error["line"], error["code"], error["reference_id"]) == (301, "reference_id_taken", "R-0")
    assert await rows(tenant.service, "import_references") == 0


async def test_administrators_name_the_merchant_in_the_row_or_for_the_file(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.write", "orders.jobs.read"])
    content = lines([smallest_job(merchant_id=one.id), smallest_job()])

    unnamed = await imported(staff, content)
    named = await imported(staff, content, params={"merchant_id": other.id})

    assert (unnamed["jobs_created"], unnamed["rows_failed"]) == (1, 1)
    assert (await errors(staff, unnamed["id"]))[0]["errors"][0]["code"] == "merchant_required"
    assert (named["jobs_created"], named["merchant_id"]) == (2, other.id)
    assert (await tenant.service.count(one), await tenant.service.count(other)) == (2, 1)
    unknown = await send(staff, content, params={"merchant_id": new_id("mer")})
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (422, "merchant_unknown")
    foreign = await send(one.api, content, params={"merchant_id": other.id})
    assert (foreign.status_code, foreign.json()["errors"][0]["code"]) == (422, "merchant_not_yours")


async def test_sessions_and_platform_keys_import_too(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    content = lines([smallest_job(merchant_id=merchant.id)])

    done = await imported(service.platform(tenant), content)

    assert (done["status"], done["jobs_created"], done["rows_failed"]) == ("succeeded", 1, 0)
    assert (await send(await merchant.session(), content)).status_code == 403
    assert (await send(service.platform(), content)).status_code == 400


async def test_merchants_see_only_their_own_imports(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.read"])
    stranger = await (await tenant.service.create_tenant()).create_user(permissions=["orders"])
    first = await imported(one.api, lines([smallest_job()]))
    second = await imported(one.api, lines([smallest_job()]))

    for path in ("", "/errors"):
        assert (await other.api.get(f"/v1/job-imports/{first['id']}{path}")).status_code == 404
        assert (await stranger.get(f"/v1/job-imports/{first['id']}{path}")).status_code == 404
        assert (await staff.get(f"/v1/job-imports/{first['id']}{path}")).status_code == 200
        assert (await (await one.session()).get(f"/v1/job-imports/{first['id']}{path}")).status_code == 200
    assert (await other.api.post(f"/v1/job-imports/{first['id']}/cancel")).status_code == 404
    assert (await staff.post(f"/v1/job-imports/{first['id']}/cancel")).status_code == 403
    assert (await other.api.read("/v1/job-imports"))["data"] == []
    page = await one.api.read("/v1/job-imports", params={"limit": 1})
    assert ([found["id"] for found in page["data"]], page["has_more"]) == ([second["id"]], True)
    rest = await one.api.read("/v1/job-imports", params={"limit": 1, "cursor": page["next_cursor"]})
    assert [found["id"] for found in rest["data"]] == [first["id"]]


async def test_a_test_key_imports_test_jobs(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(livemode=False)

    done = await imported(merchant.api, lines([smallest_job(reference_id="T")]))

    assert (done["jobs_created"], done["livemode"]) == (1, False)
    assert (await merchant.api.read("/v1/jobs"))["data"][0]["livemode"] is False
    live = await tenant.create_user(permissions=["orders"])
    assert (await live.get(f"/v1/job-imports/{done['id']}")).status_code == 404


async def test_a_body_that_is_not_a_file_of_jobs_is_refused_at_once(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    def refusal(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.json()["code"]

    json_type = {"Content-Type": "application/json"}
    assert refusal(await send(merchant.api, b"{}", headers=json_type)) == (415, "unsupported_media_type")
    packed = {"Content-Encoding": "gzip"}
    assert refusal(await send(merchant.api, b"{}", headers=packed)) == (415, "unsupported_media_type")
    assert refusal(await send(merchant.api, b"")) == (400, "body_missing")
    unknown = await send(merchant.api, b"reference_id,colour,colour,reference_id\n", csv=True)
    assert refusal(unknown) == (422, "columns_invalid")
    assert [error["code"] for error in unknown.json()["errors"]] == ["column_unknown", "column_unknown", "column_twice"]
    assert "contact.phone" in unknown.json()["columns"]
    assert refusal(await send(merchant.api, b"a,\xff\n", csv=True)) == (422, "columns_unreadable")
    unknown_charset = await send(merchant.api, b"a,b\n", headers={"Content-Type": "text/csv; charset=klingon"})
    assert refusal(unknown_charset) == (415, "unsupported_media_type")
    assert "klingon" in unknown_charset.json()["detail"]
    assert refusal(await send(merchant.api, b"id,status\n", csv=True)) == (422, "columns_invalid")
    assert (await send(merchant.api, b"{}", params={"dry": "true"})).status_code == 422
    assert (await merchant.api.read("/v1/job-imports"))["data"] == []


async def test_a_repeated_upload_is_one_import(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    content, key = lines([smallest_job()]), {"Idempotency-Key": "file-1"}

    first = await send(merchant.api, content, headers=key)
    second = await send(merchant.api, content, headers=key)
    other = await send(merchant.api, lines([smallest_job(), smallest_job()]), headers=key)
    dry = await send(merchant.api, content, headers=key, params={"dry_run": "true"})

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert dry.status_code == 422
    await ended(merchant.api, first.json()["id"])
    assert await service.count(merchant) == 1
    assert len((await merchant.api.read("/v1/job-imports"))["data"]) == 1
    assert await rows(service, "import_pieces") == 0


@pytest.mark.usefixtures("row_by_row")
async def test_an_import_can_be_cancelled_and_keeps_what_it_has_created(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    begun = await accepted(merchant.api, lines(smallest_job(reference_id=f"R-{number}") for number in range(5_000)))

    async def created() -> bool:
        document = await merchant.api.read(f"/v1/job-imports/{begun['id']}")
        return bool(document["jobs_created"])

    await eventually(created, what="the first jobs exist")
    answer = await merchant.api.post(f"/v1/job-imports/{begun['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    again = await merchant.api.post(f"/v1/job-imports/{begun['id']}/cancel")
    assert (again.status_code, again.json()) == (200, answer.json())

    count = await tenant.service.count(merchant)
    assert count == answer.json()["jobs_created"] < 5_000
    await asyncio.sleep(0.5)
    assert await tenant.service.count(merchant) == count
    done = await imported(merchant.api, lines([smallest_job()]))
    late = await merchant.api.post(f"/v1/job-imports/{done['id']}/cancel")
    assert (late.status_code, late.json()["current_status"]) == (409, "succeeded")


@pytest.mark.usefixtures("row_by_row")
async def test_an_import_ends_when_its_merchant_loses_access(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.read"])
    begun = await accepted(merchant.api, lines(smallest_job() for _ in range(5_000)))

    await merchant.update(api_access=False)

    done = await ended(staff, begun["id"])
    assert (done["status"], done["reason_code"]) == ("failed", "api_access_off")
    assert done["reason"]
    count = await tenant.service.count(merchant)
    assert count == done["jobs_created"] < 5_000
    assert done["finished_at"] is not None


@pytest.mark.usefixtures("row_by_row")
async def test_a_small_import_does_not_wait_for_a_large_one(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    large = await accepted(one.api, lines(smallest_job() for _ in range(20_000)))

    small = await imported(other.api, lines([smallest_job()]))

    assert small["status"] == "succeeded"
    running = (await one.api.post(f"/v1/job-imports/{large['id']}/cancel")).json()
    assert running["status"] == "cancelled"
    assert running["rows_done"] < 20_000


@pytest.mark.usefixtures("row_by_row")
async def test_the_number_of_waiting_imports_is_bounded(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    key = {"Idempotency-Key": "the first"}
    begun = [await accepted(merchant.api, lines(smallest_job() for _ in range(20_000)), headers=key)]
    answers = [await send(merchant.api, lines(smallest_job() for _ in range(500))) for _ in range(30)]
    begun += [answer.json() for answer in answers if answer.status_code == 202]

    refused = next(answer for answer in answers if answer.status_code != 202)
    assert (refused.status_code, refused.json()["code"]) == (429, "imports_waiting")
    assert int(refused.headers["Retry-After"]) > 0
    fresh = await send(merchant.api, lines([smallest_job()]), headers={"Idempotency-Key": "another"})
    repeated = await send(merchant.api, lines(smallest_job() for _ in range(20_000)), headers=key)
    for one in begun:
        await merchant.api.post(f"/v1/job-imports/{one['id']}/cancel")
    assert fresh.status_code in (202, 429)
    assert (repeated.status_code, repeated.json()["id"]) == (202, begun[0]["id"])
    again = await send(merchant.api, lines([smallest_job()]), headers={"Idempotency-Key": "another"})
    assert again.status_code == 202


async def test_a_file_of_too_many_rows_creates_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.imports.worker.ROWS_MAX", 100)
    merchant = await tenant.create_merchant()

    done = await imported(merchant.api, lines(smallest_job() for _ in range(101)))

    assert (done["status"], done["reason_code"], done["rows_done"]) == ("failed", "too_many_rows", 0)
    assert await tenant.service.count(merchant) == 0
    assert (await imported(merchant.api, lines(smallest_job() for _ in range(100))))["jobs_created"] == 100


async def test_errors_above_the_limit_are_counted_and_not_stored(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    done = await imported(merchant.api, b"[]\n" * (ERRORS_KEPT_MAX + 50))

    assert done["rows_failed"] == ERRORS_KEPT_MAX + 50
    first = await merchant.api.read(f"/v1/job-imports/{done['id']}/errors", params={"limit": 2})
    assert [error["line"] for error in first["data"]] == [1, 2]
    async with tenant.service.database.reading() as session:
        kept = await session.execute(text("SELECT count(*), max(line) FROM import_errors WHERE code = 'invalid'"))
        assert kept.one()[1] == ERRORS_KEPT_MAX


async def test_quotes_that_never_close_cost_no_more_than_other_files(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    content = b"address.raw,contact.first_name\n" + b'x","\n' * 4_000

    with parser_counted() as parsed:
        done = await imported(merchant.api, content, csv=True)

    assert (done["status"], done["rows_failed"], done["jobs_created"]) == ("succeeded", 4_000, 0)
    # The file is read twice, the first time to count its rows; each turn begins with the row that the last one ended before.
    assert sum(parsed) <= 10 * len(content)


async def test_a_file_of_too_many_lines_is_refused(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.imports.file_intake.LINES_MAX", 100)
    merchant = await tenant.create_merchant()

    answer = await send(merchant.api, b"\n" * 101)

    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_lines")


async def test_a_first_row_of_many_columns_is_refused_briefly(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    for heading in (b"colour," * 30_000, b"reference_id," * 15_000, b"\n" * 100_000 + b"colour\n"):
        answer = await send(merchant.api, heading, csv=True)

        assert (answer.status_code, answer.json()["code"]) == (422, "columns_invalid")
        assert len(answer.json()["errors"]) <= 100


async def test_the_number_of_files_that_arrive_at_once_is_bounded(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    other = await (await service.create_tenant()).create_merchant()
    counted = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"\n"
        await counted.wait()
        yield lines([smallest_job()])

    sent = [asyncio.create_task(send(merchant.api, slow())) for _ in range(3 * UPLOADING_MAX)]

    async def refused() -> bool:
        return sum(one.done() for one in sent) == 2 * UPLOADING_MAX

    await eventually(refused, what="all but the first are refused")
    alone = await send(other.api, lines([smallest_job()]))
    counted.set()
    answers = await asyncio.gather(*sent)

    assert alone.status_code == 202
    assert sorted(answer.status_code for answer in answers) == [202] * UPLOADING_MAX + [429] * 2 * UPLOADING_MAX


SHEET = "reference_id,contact.first_name,contact.phone,address.raw,priority,geo.latitude,geo.longitude,tags,,\n"
SHEET_ROW = 'Ö,Zoë,+15145550100,"1 Rue X, Montréal",7.0,45.5,-73.5,"[""a""]",,\n'
EUROPEAN = (
    "reference_id;contact.first_name;contact.phone;address.raw;priority;geo.latitude;geo.longitude;tags\r\n"
    'Ö;Zoë;\'+15145550100;1 Rue X, Montréal;7;45,5;-73,5;"[""a""]"\r\n'
)


@pytest.mark.parametrize(
    ("content_type", "content", "separator", "charset"),
    [
        ("text/csv", (SHEET + SHEET_ROW).encode(), ",", "utf-8"),
        ("text/csv; charset=Windows-1252", (SHEET + SHEET_ROW).encode("cp1252"), ",", "windows-1252"),
        ('text/csv; charset="utf-16"', (SHEET + SHEET_ROW).encode("utf-16"), ",", "utf-16"),
        ("text/csv", (SHEET + SHEET_ROW).encode("utf-16"), ",", "utf-16"),
        ("text/csv", ("\ufeff" + SHEET.replace(",", "\t") + SHEET_ROW.replace(",", "\t")).encode(), "\t", "utf-8"),
        ("text/csv", EUROPEAN.encode(), ";", "utf-8"),
        ("text/csv; charset=windows-1252", f"sep=;\r\n{EUROPEAN}".encode("cp1252"), ";", "windows-1252"),
    ],
)
async def test_csv_is_read_as_spreadsheets_write_it(
    tenant: Tenant, content_type: str, content: bytes, separator: str, charset: str
) -> None:
    merchant = await tenant.create_merchant()

    done = await imported(merchant.api, content, csv=True, headers={"Content-Type": content_type})

    assert (done["jobs_created"], done["rows_failed"]) == (1, 0)
    assert (done["separator"], done["charset"]) == (separator, charset)
    (job,) = (await merchant.api.read("/v1/jobs"))["data"]
    assert (job["reference_id"], job["contact"]["first_name"], job["contact"]["phone"]) == ("Ö", "Zoë", "+15145550100")
    assert (job["address"]["raw"][:7], job["address"]["raw"][-8:]) == ("1 Rue X", "Montréal")
    assert job["geo"] == {"latitude": 45.5, "longitude": -73.5}
    assert (job["priority"], job["tags"]) == (7, ["a"])


async def test_a_file_in_another_charset_is_stored_piece_by_piece(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    rows = "".join(f"R-{number},Zoë,1 Rue X,{'é' * 4_000}\n" for number in range(300))
    content = f"reference_id,contact.first_name,address.raw,instructions\n{rows}BAD,Zo\x81,1 Rue X,\n"

    done = await imported(
        merchant.api,
        content.encode("latin-1"),
        csv=True,
        headers={"Content-Type": "text/csv; charset=windows-1252"},
    )

    assert (done["jobs_created"], done["rows_failed"]) == (300, 1)
    (error,) = await errors(merchant.api, done["id"])
    assert (error["line"], error["code"]) == (302, "encoding")


async def test_empty_cells_count_for_nothing(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    sheet = (
        "reference_id,contact.first_name,,address.raw,tags,metadata,,\n"
        "A,Ada,,1 Rue X, ,\t\n"
        "B,Ada,,1 Rue X\n"
        "C,Ada,,1 Rue X,,,,,,,\n"
        ",,,,,,,\n"
        "D,Ada,here,1 Rue X\n"
    )

    done = await imported(merchant.api, sheet.encode(), csv=True)

    assert (done["rows_total"], done["jobs_created"], done["rows_failed"]) == (4, 3, 1)
    (error,) = await errors(merchant.api, done["id"])
    assert (error["reference_id"], error["errors"][0]["code"]) == ("D", "cells_count")


async def test_what_a_spreadsheet_has_changed_is_refused_in_words(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    sheet = (
        "reference_id,contact.phone,address.raw,scheduled_date,time_window.start,time_window.end,tags\n"
        "A,15145550100,1 Rue X,05/01/2027,8:00,9:00 AM,fragile\n"
        "B,1.51455E+10,1 Rue X,05/01/2027,0.3333,0.5,\n"
    )

    done = await imported(merchant.api, sheet.encode(), csv=True)

    assert (done["jobs_created"], done["rows_failed"]) == (0, 2)
    for error in await errors(merchant.api, done["id"]):
        for violation in error["errors"]:
            assert any(word in violation["message"] for word in ("such as", "YYYY-MM-DD")), violation
            assert "pattern" not in violation["message"]
