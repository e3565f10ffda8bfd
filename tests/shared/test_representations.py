"""What a representation is: the media type of a body, and the entity tag by which a reader knows it again."""

import pytest

from tests.harness.edge_app import EdgeTestApp

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Encoding": "gzip"}, "content_encoding_unsupported"),
        ({"Content-Encoding": "identity, br"}, "content_encoding_unsupported"),
        ({"Content-Type": "application/json; charset=utf-16"}, "charset_unsupported"),
        ({"Content-Type": 'application/merge-patch+json;charset="ISO-8859-1"'}, "charset_unsupported"),
    ],
)
async def test_json_is_taken_uncompressed_and_in_utf_8_alone(
    edge: EdgeTestApp, headers: dict[str, str], expected: str
) -> None:
    owner = (await edge.create_tenant()).owner

    answer = await owner.post("/v1/notes", content=b'{"text": "a"}', headers={**JSON, **headers})

    assert (answer.status_code, answer.json()["code"]) == (415, expected)


@pytest.mark.parametrize("charset", ["UTF-8", '"utf-8"', "utf8"])
async def test_json_may_say_that_it_is_utf_8(edge: EdgeTestApp, charset: str) -> None:
    owner = (await edge.create_tenant()).owner
    headers = {"Content-Type": f"application/json; charset={charset}", "Content-Encoding": "identity"}

    answer = await owner.post("/v1/notes", content=b'{"text": "a"}', headers=headers)

    assert answer.status_code == 201


async def test_an_etag_saves_a_transfer(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    made = await tenant.owner.post("/v1/notes", {"text": "a"})
    path = f"/v1/notes/{made.json()['id']}"

    same = await tenant.owner.get(path, headers={"If-None-Match": made.headers["etag"]})
    other = await tenant.owner.get(path, headers={"If-None-Match": '"9"'})

    assert (same.status_code, same.content) == (304, b"")
    assert other.status_code == 200


async def test_entity_tags_are_compared_weakly_where_nothing_is_written(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    path = f"/v1/notes/{(await tenant.owner.post('/v1/notes', {'text': 'a'})).json()['id']}"

    async def status(known: str) -> int:
        return (await tenant.owner.get(path, headers={"If-None-Match": known})).status_code

    same = [await status(known) for known in ('W/"1"', "*", '"9", W/"1"', 'W/"8",W/"1"', '"a,b" , "1"')]
    other = [await status(known) for known in ('W/"9"', "1", '""', '"9", "8"', "")]
    changed = await tenant.owner.patch(path, {"text": "b"}, headers={"If-Match": 'W/"1"'})

    assert (same, other) == ([304] * 5, [200] * 5)
    assert changed.status_code == 412
