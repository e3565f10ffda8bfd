"""A file in a form (`multipart/form-data`), as browsers and generated clients send it: its one part, read as it arrives."""

from collections.abc import AsyncIterator, Sequence
from pathlib import PurePath
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from shared.errors import BadRequest, UnsupportedMediaType, Violation, invalid

MEDIA_TYPE = "multipart/form-data"
FIELD = "file"
FRAME_BYTES_MAX = 16 * 1024
"""The boundaries and headers around the file."""


def schema(example: str) -> dict[str, Any]:
    """The JSON Schema of the form."""
    described = {
        "type": "string",
        "format": "binary",
        "description": "The file; its type, or the end of its name, tells the format.",
        "examples": [example],
    }
    return {"type": "object", "required": [FIELD], "properties": {FIELD: described}, "additionalProperties": False}


class FormFile:
    """The file in a form that arrives. `begin` comes first."""

    def __init__(self, content_type: str, arriving: AsyncIterator[bytes]):
        _, options = parse_options_header(content_type)
        try:
            self._parser = PushMultipartParser(options.get("boundary", ""), strict=True)
        except MultipartError as error:
            raise _malformed(error) from error
        self._events = self._parsed(arriving)
        self._segment: MultipartSegment | None = None

    async def begin(self) -> None:
        """Read until the file begins. Raises `BadRequest` for what is no form, `Invalid` for a form without a file or with more."""
        self._segment = self._file(await anext(self._events, None))

    def media_type(self, accepted: Sequence[str]) -> str:
        """The file's type: as its part says, or by the end of its name. Raises `UnsupportedMediaType`."""
        assert self._segment is not None
        if self._segment.content_type in accepted:
            return str(self._segment.content_type)
        ending = PurePath(self._segment.filename or "").suffix.removeprefix(".").lower()
        for one in accepted:
            if one.rpartition("/")[2].removeprefix("x-") == ending:
                return one
        raise UnsupportedMediaType(
            f"the part `{FIELD}` needs the type {' or '.join(accepted)}, or a file name that ends so",
            accepted=list(accepted),
        )

    @property
    def charset(self) -> str | None:
        """As the part names it; None: it names none."""
        assert self._segment is not None
        return self._segment.charset.strip().lower() if self._segment.charset is not None else None

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the file. Raises like `begin`."""
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                self._file(event)
            elif event is not None:
                yield bytes(event)

    def _file(self, segment: object) -> MultipartSegment:
        if not isinstance(segment, MultipartSegment):
            raise invalid(Violation("", "missing", "the form has no file", parameter=FIELD))
        if segment.name != FIELD or self._segment is not None:
            raise invalid(Violation("", "extra_forbidden", f"the form has one part, `{FIELD}`", parameter=segment.name))
        return segment

    async def _parsed(self, arriving: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        try:
            async for arrived in arriving:
                if arrived:
                    for event in self._parser.parse(arrived):
                        yield event
            self._parser.close()
        except MultipartError as error:
            raise _malformed(error) from error


def _malformed(error: MultipartError) -> BadRequest:
    return BadRequest(f"the form cannot be read: {error}", code="form_malformed")
