"""`/docs` and the files that it names: everything comes from the service itself, and nothing is inline."""

import gzip
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest

from tests.harness.edge_app import edge_database, run_edge_app
from tests.harness.stack import BackingStack

FILES = {"image/png", "text/css", "text/javascript"}


@pytest.fixture(scope="module")
async def client(backing: BackingStack) -> AsyncIterator[httpx.AsyncClient]:
    async with run_edge_app(await edge_database(backing)) as edge:
        yield edge.client


class Page(HTMLParser):
    """The addresses that a page names, and what stands in it that a strict policy forbids."""

    def __init__(self, answer: httpx.Response):
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._element = ""
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element = tag
        named = dict(attrs)
        self.addresses += [named[name] or "" for name in ("src", "href", "action") if name in named]
        self.inline += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._element in ("script", "style") and data.strip():
            self.inline.append(self._element)

    def handle_endtag(self, _: str) -> None:
        self._element = ""


async def test_every_file_that_the_page_names_comes_from_the_service_itself(client: httpx.AsyncClient) -> None:
    page = Page(await client.get("/docs"))

    answers = [await client.get(f"/{address}") for address in page.addresses]

    assert len(page.addresses) > len(FILES)
    assert all("//" not in address and not address.startswith("/") for address in page.addresses)
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert {answer.headers["content-type"].split(";")[0] for answer in answers} == {*FILES, "application/json"}


async def test_nothing_inline_is_allowed_and_nothing_is_inline(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")

    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("img-src") == "'self' data:"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert Page(answer).inline == []


async def test_files_are_kept_for_ever_and_sent_compressed(client: httpx.AsyncClient) -> None:
    for address in Page(await client.get("/docs")).addresses:
        if not address.endswith((".css", "bundle.js")):
            continue
        plain = await client.get(f"/{address}", headers={"Accept-Encoding": "gzip;q=0, br"})
        async with client.stream("GET", f"/{address}", headers={"Accept-Encoding": "br, GZIP;q=0.5"}) as compressed:
            sent = b"".join([part async for part in compressed.aiter_raw()])

        for answer in (plain, compressed):
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in plain.headers
        assert compressed.headers["content-encoding"] == "gzip"
        assert len(sent) < len(plain.content) / 3
        assert gzip.decompress(sent) == plain.content


async def test_other_content_has_another_address(client: httpx.AsyncClient) -> None:
    address = next(one for one in Page(await client.get("/docs")).addresses if one.endswith("docs.js"))
    digest = address.split("/")[1]

    for path in (address.replace(digest, "0" * 16), f"static/{digest}/vendor/../docs.js", f"static/{digest}/../app.py"):
        assert (await client.get(f"/{path}".replace("..", "%2e%2e"))).status_code == 404
