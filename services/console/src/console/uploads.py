"""Files that people send: read as they arrive, and passed on without being kept. The fields of the form come before the file."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

FIELD = "file"
FIELD_BYTES_MAX = 4_000
FIELDS_MAX = 20
MEDIA_TYPES: Mapping[str, str] = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".txt": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}
"""By the end of a file's name."""


class UploadUnreadable(Exception):
    """What was sent is no form with a file, or its fields are too large."""


@dataclass
class Upload:
    """A form with a file."""

    fields: dict[str, str] = field(default_factory=dict)
    file_name: str = ""
    content: AsyncIterator[bytes] | None = None
    """The bytes of the file, as they arrive; None where none was chosen."""

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(PurePath(self.file_name).suffix.lower(), "text/csv")


async def read_upload(content_type: str, arriving: AsyncIterator[bytes]) -> Upload:
    """Read a form until its file begins. Raises `UploadUnreadable`."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise UploadUnreadable
    try:
        parser = PushMultipartParser(options.get("boundary", ""), strict=True)
    except MultipartError as error:
        raise UploadUnreadable from error
    events = _events(parser, arriving)
    upload, name, value = Upload(), "", b""
    async for event in events:
        if isinstance(event, MultipartSegment):
            if event.name == FIELD:
                if event.filename:
                    upload.file_name, upload.content = event.filename, _content(events)
                return upload
            name, value = event.name, b""
        elif event is None:
            upload.fields[name] = value.decode(errors="replace")
        else:
            value += event
        if len(value) > FIELD_BYTES_MAX or len(upload.fields) > FIELDS_MAX:
            raise UploadUnreadable
    return upload


async def _content(events: AsyncIterator[MultipartSegment | bytes | bytearray | None]) -> AsyncIterator[bytes]:
    """The bytes up to the end of the file; what comes after it is left."""
    async for event in events:
        if event is None or isinstance(event, MultipartSegment):
            return
        yield bytes(event)


async def _events(
    parser: PushMultipartParser, arriving: AsyncIterator[bytes]
) -> AsyncIterator[MultipartSegment | bytes | bytearray | None]:
    try:
        async for arrived in arriving:
            if arrived:
                for event in parser.parse(arrived):
                    yield event
    except MultipartError as error:
        raise UploadUnreadable from error
