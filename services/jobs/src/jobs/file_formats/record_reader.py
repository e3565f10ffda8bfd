"""Splits a file that is read in pieces into records: rows of CSV (RFC 4180), or lines of JSON.

Every record has its first line and the position after it, so that reading can continue there. A record that cannot be read has a
`fault`, which never affects more than one line.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

RECORD_BYTES_MAX = 256 * 1024
"""Largest size of a record; a larger one has the fault `too_long`."""
BOM = b"\xef\xbb\xbf"

Fault = Literal["encoding", "too_long", "csv_malformed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record: the `cells` of a CSV row, the `text` of a JSON line, or the `fault` that prevents reading."""

    line: int
    """Its first line in the file, from 1."""
    next_line: int
    """The line after it."""
    end: int
    """Bytes of the file before and including it."""
    cells: tuple[str, ...] = ()
    text: str = ""
    fault: Fault | None = None


class RecordReader(Protocol):
    """Splits a file into records. Blank lines are skipped."""

    def feed(self, piece: bytes) -> Iterator[Record]:
        """The records that this piece completes."""

    def finish(self) -> Iterator[Record]:
        """The last record, if the file does not end with a line break."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with its line break; the content is None if it is too long."""

    content: bytes | None
    size: int


class _LineSplitter:
    """Splits pieces into lines. Of a line that is too long it holds at most `RECORD_BYTES_MAX` bytes."""

    def __init__(self) -> None:
        self._partial = b""
        self._dropped_bytes = 0

    def feed(self, piece: bytes) -> list[_Line]:
        whole, line_break, rest = piece.rpartition(b"\n")
        if not line_break:
            self._append(rest)
            return []
        lines = [content + line_break for content in whole.split(line_break)]
        found = [self._complete(lines[0]), *(_line(content) for content in lines[1:])]
        self._append(rest)
        return found

    def finish(self) -> list[_Line]:
        return [self._complete(b"")] if self._partial or self._dropped_bytes else []

    def _append(self, content: bytes) -> None:
        self._partial += content
        if len(self._partial) > RECORD_BYTES_MAX:
            self._dropped_bytes += len(self._partial)
            self._partial = b""

    def _complete(self, content: bytes) -> _Line:
        line = _line(self._partial + content)
        if self._dropped_bytes:
            line = _Line(None, self._dropped_bytes + line.size)
        self._partial, self._dropped_bytes = b"", 0
        return line


def _line(content: bytes) -> _Line:
    return _Line(content if len(content) <= RECORD_BYTES_MAX else None, len(content))


class LineReader:
    """Reads each line as a record."""

    def __init__(self, *, position: int = 0, line: int = 1):
        self._lines = _LineSplitter()
        self._position = position
        self._line = line

    def feed(self, piece: bytes) -> Iterator[Record]:
        return self._records(self._lines.feed(piece))

    def finish(self) -> Iterator[Record]:
        return self._records(self._lines.finish())

    def _records(self, lines: list[_Line]) -> Iterator[Record]:
        for line in lines:
            number = self._line
            self._line += 1
            self._position += line.size
            text, fault = _decoded(line)
            if fault is not None or text.strip():
                yield Record(number, self._line, self._position, text=text, fault=fault)


def _decoded(line: _Line) -> tuple[str, Fault | None]:
    if line.content is None:
        return "", "too_long"
    try:
        return line.content.decode(), None
    except UnicodeDecodeError:
        return "", "encoding"


class CsvReader:
    """Reads each row of a CSV file as a record; a quoted cell can contain line breaks.

    A quote that is not closed would consume the rest of the file. So if a row cannot be read, only its first line is a faulty record,
    and the next line is read as the beginning of a row.
    """

    def __init__(self, *, position: int = 0, line: int = 1):
        # The limit of the csv module is global and smaller by default; `RECORD_BYTES_MAX` is checked here.
        csv.field_size_limit(RECORD_BYTES_MAX)
        self._lines = _LineSplitter()
        self._waiting: list[_Line] = []
        self._position = position
        self._line = line

    def feed(self, piece: bytes) -> Iterator[Record]:
        self._waiting.extend(self._lines.feed(piece))
        return self._rows(at_end=False)

    def finish(self) -> Iterator[Record]:
        self._waiting.extend(self._lines.finish())
        return self._rows(at_end=True)

    def _rows(self, *, at_end: bool) -> Iterator[Record]:
        lines, taken = self._waiting, 0
        while taken < len(lines):
            source = _CsvSource(lines, taken)
            try:
                for cells in csv.reader(source, strict=True):
                    row = self._record(lines[taken : source.next], cells=tuple(cells))
                    taken, source.size = source.next, 0
                    if any(cells):
                        yield row
            except csv.Error:
                if source.exhausted and not at_end:
                    # Inside a quoted cell: the rest of the row is in the next piece.
                    break
                yield self._record(lines[taken : taken + 1], fault="csv_malformed")
                taken += 1
            except _Unreadable as unreadable:
                yield self._record(lines[taken : taken + 1], fault=unreadable.fault)
                taken += 1
        self._waiting = lines[taken:]

    def _record(self, lines: list[_Line], *, cells: tuple[str, ...] = (), fault: Fault | None = None) -> Record:
        number = self._line
        self._line += len(lines)
        self._position += sum(line.size for line in lines)
        return Record(number, self._line, self._position, cells=cells, fault=fault)


class _Unreadable(Exception):
    """A line of a row cannot be read, for this fault."""

    def __init__(self, fault: Fault):
        super().__init__(fault)
        self.fault = fault


class _CsvSource:
    """Iterates over lines for the csv module, which reads as many as a row has."""

    def __init__(self, lines: list[_Line], first: int):
        self._all = lines
        self.next = first
        self.size = 0
        """Bytes of the row that were read so far."""
        self.exhausted = False

    def __iter__(self) -> "_CsvSource":
        return self

    def __next__(self) -> str:
        if self.next == len(self._all):
            self.exhausted = True
            raise StopIteration
        line = self._all[self.next]
        self.next += 1
        self.size += line.size
        if self.size > RECORD_BYTES_MAX:
            raise _Unreadable("too_long")
        text, fault = _decoded(line)
        if fault is not None:
            raise _Unreadable(fault)
        return text
