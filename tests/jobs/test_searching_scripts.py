"""Searching in all scripts: letters that Unicode does not decompose, vowel signs, invisible marks, scripts without spaces."""

from typing import Any

import pytest

from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Tenant


async def finds(api: Api, **conditions: Any) -> bool:
    listed = await api.listed(**conditions)
    assert await api.searched(**conditions) == listed
    return bool(listed)


@pytest.mark.parametrize(
    ("kept", "found", "not_found"),
    [
        ("Łódź", ["lodz", "ŁÓDŹ", "łodz"], ["lod z"]),
        ("Søren Ærø", ["soren", "SØREN aero", "ærø"], ["sren"]),
        ("Işık", ["IŞIK", "isik", "ışık", "İŞİK"], ["isk"]),
        ("Straße Đorđe", ["strasse", "STRASSE dorde"], ["strase"]),
        ("रमेश कुमार", ["रमेश", "कुमार", "कुमार रमेश"], ["रम", "श"]),
        ("سارة\u200f אבגד", ["سارة", "אבגד", "\u200eسارة"], ["سار"]),
        ("Ann\u00ada\u200b-Maria", ["anna", "\u2066anna maria", "an\u200bna"], ["ann"]),
        (
            "東京都港区芝公園",
            ["東京", "港区", "京都", "東京都港区", "園", "芝公園 東京都"],
            ["大阪", "東港", "東京大阪"],
        ),
        ("カートが壊れた", ["カート", "壊れ", "ｶｰﾄ"], ["カメラ"]),
        ("ซอยสุขุมวิท 11", ["สุขุมวิท", "ซอย", "สุขุมวิท 11"], ["พัทยา"]),
        ("서울특별시 강남구", ["강남구", "서울특별시"], ["부산"]),
    ],
)
async def test_text_is_found_as_its_readers_type_it(
    tenant: Tenant, kept: str, found: list[str], not_found: list[str]
) -> None:
    api = (await tenant.create_merchant()).api
    await api.create_job(smallest_job(short_description=kept))

    assert [text for text in found if not await finds(api, q=text)] == []
    assert [text for text in not_found if await finds(api, q=text)] == []


async def test_names_and_tags_are_compared_without_invisible_marks(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    contact = {"first_name": "\u200fŁucja", "last_name": "Æ\u00adrø", "phone": "+15145550100"}
    await api.create_job(smallest_job(contact=contact, tags=["fra\u200bgile"]))

    assert await finds(api, contact_name="lucja aero")
    assert await finds(api, contact_name="Łucja")
    assert await finds(api, tag=["fragile"])


@pytest.mark.parametrize("unseen", ["\u200b", "\u200f \u00ad", "\u3164", "\ufeff"])
async def test_text_that_shows_nothing_is_no_text(tenant: Tenant, unseen: str) -> None:
    api = (await tenant.create_merchant()).api

    made = await api.create_job(smallest_job(reference_id=unseen, instructions=unseen))
    refused = await api.get("/v1/jobs", params={"q": unseen})

    assert (made["reference_id"], made["instructions"]) == (None, None)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "no_word")
