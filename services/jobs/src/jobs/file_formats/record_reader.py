"""Cuts a file that arrives in pieces into records: rows of CSV (RFC 4180), or lines of JSON.

Every record knows its first line and the position after it, so reading can resume there. A record that cannot be read carries the
reason; a fault never costs more than one line.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

RECORD_BYTES_MAX = 256 * 1024
BOM = b"\xef\xbb\xbf"

Fault = Literal["encoding", "too_long", "csv_malformed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `cells` of a row, `text` of a line, or the `fault` for which it cannot be read."""

    line: int
    """The line on which it begins, from 1."""
    next_line: int
    """The line after it."""
    end: int
    """Bytes of the file up to and including it."""
    cells: tuple[str, ...] = ()
    text: str = ""
    fault: Fault | None = None


class RecordReader(Protocol):
    """What cuts a file into records; blank lines are none."""

    def feed(self, piece: bytes) -> Iterator[Record]:
        """The records that this piece completes."""

    def finish(self) -> Iterator[Record]:
        """The last record, when the file does not end with a line break."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with its break; without content when it is too long to be looked at."""

    content: bytes | None
    size: int


class _LineSplitter:
    """Cuts pieces into lines, and holds no more of an endless one than the longest that is read."""

    def __init__(self) -> None:
        self._begun = b""
        self._dropped = 0

    def feed(self, piece: bytes) -> list[_Line]:
        whole, line_break, rest = piece.rpartition(b"\n")
        if not line_break:
            self._begin(rest)
            return []
        lines = [content + line_break for content in whole.split(line_break)]
        found = [self._completed(lines[0]), *(_line(content) for content in lines[1:])]
        self._begin(rest)
        return found

    def finish(self) -> list[_Line]:
        return [self._completed(b"")] if self._begun or self._dropped else []

    def _begin(self, content: bytes) -> None:
        self._begun += content
        if len(self._begun) > RECORD_BYTES_MAX:
            self._dropped += len(self._begun)
            self._begun = b""

    def _completed(self, content: bytes) -> _Line:
        line = _line(self._begun + content)
        if self._dropped:
            line = _Line(None, self._dropped + line.size)
        self._begun, self._dropped = b"", 0
        return line


def _line(content: bytes) -> _Line:
    return _Line(content if len(content) <= RECORD_BYTES_MAX else None, len(content))


class LineReader:
    """Records that are lines."""

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
    """Records that are rows of a CSV file; a quoted cell may hold line breaks.

    A quote that is never closed would swallow the rest of the file. So where a row cannot be read only its first line is given up, and
    the next line is taken for the beginning of a row.
    """

    def __init__(self, *, position: int = 0, line: int = 1):
        # One limit for the whole process, which `RECORD_BYTES_MAX` is meant to be the only one of.
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
                    # Within a quoted cell: the rest of the row is still to come.
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
    """A line of a row cannot be read."""

    def __init__(self, fault: Fault):
        super().__init__(fault)
        self.fault = fault


class _CsvSource:
    """Hands lines to the csv module, which takes one after the other until a row is complete."""

    def __init__(self, lines: list[_Line], first: int):
        self._all = lines
        self.next = first
        self.size = 0
        """Bytes of the row so far."""
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
