"""Import files of jobs: send one, wait for its import."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx

from jobs.file_formats import record_reader
from tests.harness.client import Api, document
from tests.harness.waiting import eventually

CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ENDED = ("succeeded", "failed", "cancelled")


def lines(documents: Iterable[object]) -> bytes:
    """NDJSON: one document per line."""
    return b"".join(json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents)


async def send(api: Api, content: Any, *, csv: bool = False, **options: Any) -> httpx.Response:
    """The response to `POST /v1/job-imports`."""
    headers = {**(CSV if csv else NDJSON), **options.pop("headers", {})}
    return await api.request("POST", "/v1/job-imports", content=content, headers=headers, **options)


async def accepted(api: Api, content: Any, **options: Any) -> dict[str, Any]:
    """The import of a file that the service accepted."""
    return document(await send(api, content, **options), 202)


async def ended(api: Api, import_id: str, *, seconds: float = 60) -> dict[str, Any]:
    """The import, after it has ended."""

    async def over() -> dict[str, Any] | None:
        found = await api.read(f"/v1/job-imports/{import_id}")
        return found if found["status"] in ENDED else None

    return await eventually(over, seconds=seconds, what="the import has ended")


async def imported(api: Api, content: Any, **options: Any) -> dict[str, Any]:
    """The ended import of a file."""
    return await ended(api, (await accepted(api, content, **options))["id"])


async def errors(api: Api, import_id: str) -> list[dict[str, Any]]:
    """The first page of an import's errors."""
    page = await api.read(f"/v1/job-imports/{import_id}/errors", params={"limit": 200})
    found: list[dict[str, Any]] = page["data"]
    return found


@contextmanager
def parser_counted() -> Iterator[list[int]]:
    """The sizes of all texts that the CSV parser is given meanwhile."""
    given_sizes: list[int] = []

    def reader(texts: Iterable[str], **options: Any) -> Iterator[list[str]]:
        def counted() -> Iterator[str]:
            for text in texts:
                given_sizes.append(len(text))
                yield text

        return csv.reader(counted(), **options)

    counting = SimpleNamespace(reader=reader, Error=csv.Error, field_size_limit=csv.field_size_limit)
    with patch.object(record_reader, "csv", counting):
        yield given_sizes
