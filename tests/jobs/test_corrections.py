"""Files that are made right: checked before their import, and what was refused given back with the reasons."""

import csv
import io

from sqlalchemy import text

from jobs import imports
from jobs.imports.schemas import CHECK_ROWS_MAX
from shared.ids import to_uuid
from tests.harness.bodies import smallest_job
from tests.harness.client import document, refused
from tests.harness.job_files import CSV, NDJSON, imported, lines
from tests.harness.jobs import Jobs, Tenant


async def test_the_beginning_of_a_file_is_checked_at_once(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    file = "reference_id;contact.first_name;contact.phone;address.raw\n"
    file += "A-1;Ada;+15145550100;1 Rue X\nA-2;Bob;514;2 Rue X\nA-1;Cid;+15145550100;3 Rue X\nA-4;Di"

    answer = await merchant.api.post(
        "/v1/job-imports/check", content=file.encode(), headers=CSV, params={"partial": "true"}
    )

    found = document(answer)
    assert (found["separator"], found["charset"], found["columns"][1]) == (";", "utf-8", "contact.first_name")
    assert (found["rows_valid"], found["rows_failed"]) == (1, 2)
    assert [(row["line"], row["reference_id"], row["code"]) for row in found["rows"]] == [
        (2, "A-1", None),
        (3, "A-2", "invalid"),
        (4, "A-1", "reference_id_taken"),
    ]
    assert found["rows"][1]["cells"] == ["A-2", "Bob", "514", "2 Rue X"]
    assert found["rows"][1]["errors"][0]["pointer"] == "/contact/phone"
    assert await service.count(merchant) == 0
    many = lines([smallest_job()] * (CHECK_ROWS_MAX + 20))
    found = document(await merchant.api.post("/v1/job-imports/check", content=many, headers=NDJSON))
    assert (found["rows_valid"], len(found["rows"])) == (CHECK_ROWS_MAX, CHECK_ROWS_MAX)
    refused(
        await merchant.api.post("/v1/job-imports/check", content=b"nothing,known\n1,2\n", headers=CSV),
        422,
        "columns_invalid",
    )


async def test_refused_rows_come_back_with_reasons_and_can_be_corrected(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    file = (
        "reference_id,contact.first_name,contact.phone,address.raw,tags,instructions\n"
        "A-1,Ada,+15145550100,1 Rue X,,\n"
        'A-2,Bob,514,"2 Rue X, Montréal","["";=a"", ""b""]",=1+1\n'
        "A-3,Cid,+15145550100,3 Rue X,no list,'-2\n"
    )
    done = await imported(merchant.api, file.encode(), csv=True)
    path = f"/v1/job-imports/{done['id']}/errors.csv"

    answer = await merchant.api.get(path)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert [row["refused.line"] for row in rows] == ["3", "4"]
    assert (rows[0]["address.raw"], rows[0]["refused.code"]) == ("2 Rue X, Montréal", "invalid")
    assert rows[0]["refused.reason"].startswith("contact.phone: ")
    assert (rows[0]["instructions"], rows[1]["instructions"]) == ("'=1+1", "'-2")
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert ";=" not in answer.text
    other = await tenant.create_merchant()
    refused(await other.api.get(path), 404, "import_not_found")
    (_, exported) = await service.audited(done["id"], "import.created", "import.refused_rows_exported")
    assert exported.actor == merchant.id

    corrected = answer.content.replace(b'"\'514"', b'"+15145550101"').replace(b"no list", b"[]")
    again = await imported(merchant.api, corrected, csv=True)

    assert (again["jobs_created"], again["rows_failed"]) == (2, 0)
    found = {job["reference_id"]: job for job in (await merchant.api.read("/v1/jobs"))["data"]}
    assert (found["A-2"]["instructions"], found["A-2"]["tags"]) == ("=1+1", [";=a", "b"])
    assert found["A-3"]["instructions"] == "-2"


async def test_refused_rows_of_an_old_import_keep_their_reasons_alone(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    done = await imported(merchant.api, lines([{"reference_id": "A-1", "contact": {"phone": "7771"}}]))
    path = f"/v1/job-imports/{done['id']}/errors.csv"
    assert '""phone"": ""7771""' in (await merchant.api.get(path)).text

    async with service.database.transaction() as session:
        await session.execute(
            text("UPDATE imports SET finished_at = now() - interval '8 days' WHERE id = :id"),
            {"id": to_uuid(done["id"])},
        )
        await imports.delete_stale(session)

    file = (await merchant.api.get(path)).text
    assert "7771" not in file
    assert "contact.phone" in file
