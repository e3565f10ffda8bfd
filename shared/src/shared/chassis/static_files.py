"""Files for browsers: served from a package's own folder, at addresses that change with their content, so that they are kept for ever."""

import asyncio
import gzip
import hashlib
import mimetypes
from functools import cached_property
from pathlib import Path, PurePosixPath

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FOREVER = "public, max-age=31536000, immutable"
TEXTS = frozenset({".css", ".js", ".mjs", ".svg"})
SERVED = TEXTS | {".png"}
MEDIA_TYPES = {".js": "text/javascript", ".mjs": "text/javascript"}
"""Those of which systems have other notions: a module is run as this alone."""
DIGEST_CHARACTERS = 16


class FilesMissing(Exception):
    """The folder has no browser files: they are fetched by `make install`, and are a part of wheels and images."""


class StaticFiles:
    """The files below one folder. Texts are sent compressed to whoever takes that."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._compressed: dict[str, bytes] = {}

    def address(self, name: str) -> str:
        """Where a page at the root finds this file, relative, so that a proxy may put a prefix before both. Raises `FilesMissing`."""
        if name not in self._files:
            raise FilesMissing(f"{self._folder / name} is missing: make install")
        return f"static/{self._digest}/{name}"

    def install(self, app: FastAPI) -> None:
        """Serve them under `/static`."""
        path = "/static/{digest}/{name:path}"
        app.router.routes.append(Route(path, self._answer, methods=["GET"], include_in_schema=False))

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files or request.path_params["digest"] != self._digest:
            raise HTTPException(404)
        file, suffix = self._files[name], PurePosixPath(name).suffix
        media_type = MEDIA_TYPES.get(suffix) or mimetypes.guess_type(name)[0]
        headers = {"Cache-Control": FOREVER}
        if suffix in TEXTS:
            headers["Vary"] = "Accept-Encoding"
            if _takes_gzip(request.headers.get("accept-encoding", "")):
                headers["Content-Encoding"] = "gzip"
                return Response(await self._compress(name), media_type=media_type, headers=headers)
        return FileResponse(file, media_type=media_type, headers=headers)

    async def _compress(self, name: str) -> bytes:
        """A file as it is sent, kept from the first time on."""
        if name not in self._compressed:
            self._compressed[name] = await asyncio.to_thread(lambda: gzip.compress(self._files[name].read_bytes()))
        return self._compressed[name]

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = sorted(file for file in self._folder.rglob("*") if file.suffix in SERVED)
        return {file.relative_to(self._folder).as_posix(): file for file in found}

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256()
        for name, file in self._files.items():
            content.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()[:DIGEST_CHARACTERS]


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
