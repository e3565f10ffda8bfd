"""Imports whose file comes in a form, as generated clients send it."""

from typing import Any

import httpx
import pytest

from jobs.imports import tables
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.job_files import ended, lines
from tests.harness.jobs import Tenant

SHEET = (
    'reference_id,contact.first_name,contact.phone,address.raw\r\nR-1,Ada,+15145550100,"1 Rue X, Montréal"\r\n'.encode()
)

HEAD = b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'


async def send_form(api: Api, *parts: tuple[str, tuple[Any, ...]], **headers: str) -> httpx.Response:
    """The response to a form with these parts: name, and file name, content, type."""
    form = httpx.Request("POST", "http://form", files=list(parts))
    return await send_raw(api, form.read(), form.headers["content-type"], **headers)


async def send_raw(api: Api, content: bytes, content_type: str, **headers: str) -> httpx.Response:
    return await api.request(
        "POST", "/v1/job-imports", content=content, headers={"Content-Type": content_type, **headers}
    )


@pytest.mark.parametrize(
    ("part", "separator", "charset"),
    [
        (("jobs.csv", SHEET, "application/octet-stream"), ",", "utf-8"),
        (("jobs", SHEET, "text/csv"), ",", "utf-8"),
        (("Jobs.CSV", SHEET.decode().encode("cp1252"), "text/csv; charset=windows-1252"), ",", "windows-1252"),
        (("jobs.ndjson", lines([smallest_job(reference_id="R-1")]), "application/octet-stream"), None, "utf-8"),
    ],
    ids=["by its name", "by its type", "in another charset", "lines of JSON"],
)
async def test_the_file_of_a_form_is_imported(
    tenant: Tenant, part: tuple[Any, ...], separator: str | None, charset: str
) -> None:
    merchant = await tenant.create_merchant()

    answer = await send_form(merchant.api, ("file", part))

    assert answer.status_code == 202, answer.text
    done = await ended(merchant.api, answer.json()["id"])
    assert (done["jobs_created"], done["rows_failed"], done["separator"], done["charset"]) == (1, 0, separator, charset)
    (job,) = (await merchant.api.read("/v1/jobs"))["data"]
    assert job["reference_id"] == "R-1"


async def test_a_large_file_arrives_as_it_was_sent(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    # Longer than what is stored at once, and full of what could be a boundary.
    instructions = "\r\n--boun" * 500
    rows = [f'R-{number},Ada,+15145550100,1 Rue X,"{instructions}"\r\n' for number in range(270)]
    content = "reference_id,contact.first_name,contact.phone,address.raw,instructions\r\n" + "".join(rows)
    assert len(content) > tables.PIECE_BYTES

    answer = await send_raw(
        merchant.api, HEAD + b"\r\n" + content.encode() + b"\r\n--bound--\r\n", "multipart/form-data; boundary=bound"
    )

    assert answer.status_code == 202, answer.text
    done = await ended(merchant.api, answer.json()["id"])
    assert (done["jobs_created"], done["rows_failed"]) == (270, 0)
    (newest,) = (await merchant.api.read("/v1/jobs", params={"limit": 1}))["data"]
    assert newest["instructions"].split() == instructions.split()


async def test_the_same_file_in_another_form_is_a_repeat(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    part = ("file", ("jobs.csv", SHEET, "text/csv"))

    first, second = [await send_form(merchant.api, part, **{"Idempotency-Key": "form-1"}) for _ in range(2)]

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["idempotency-replayed"] == "true"


MALFORMED: dict[str, tuple[bytes, str, int, str]] = {
    "no boundary": (b"", "multipart/form-data", 400, "form_malformed"),
    "no form": (
        b"no form at all, and longer than a boundary",
        "multipart/form-data; boundary=bound",
        400,
        "form_malformed",
    ),
    "cut off": (HEAD + b"\r\na", "multipart/form-data; boundary=bound", 400, "form_malformed"),
    "a long header": (
        HEAD + b"X: " + b"y" * 8192 + b"\r\n\r\na\r\n--bound--\r\n",
        "multipart/form-data; boundary=bound",
        400,
        "form_malformed",
    ),
    "an empty file": (HEAD + b"\r\n\r\n--bound--\r\n", "multipart/form-data; boundary=bound", 400, "body_missing"),
    "no part": (b"--bound--\r\n", "multipart/form-data; boundary=bound", 422, "invalid"),
}


async def test_what_is_no_form_is_refused(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    for case, (content, content_type, status, code) in MALFORMED.items():
        answer = await send_raw(merchant.api, content, content_type)
        assert (answer.status_code, answer.json()["code"]) == (status, code), case
    assert (await merchant.api.read("/v1/job-imports"))["data"] == []


async def test_a_form_has_one_file_of_a_known_kind(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    file = ("file", ("jobs.csv", SHEET, "text/csv"))

    named = await send_form(merchant.api, ("jobs", ("jobs.csv", SHEET, "text/csv")))
    two = await send_form(merchant.api, file, file)
    unknown = await send_form(merchant.api, ("file", ("jobs.xlsx", b"PK", "application/octet-stream")))

    assert [error["parameter"] for error in named.json()["errors"]] == ["jobs"]
    assert (named.status_code, two.status_code, unknown.status_code) == (422, 422, 415)
    assert unknown.json()["accepted"] == ["text/csv", "application/x-ndjson"]
    assert (await merchant.api.read("/v1/job-imports"))["data"] == []
