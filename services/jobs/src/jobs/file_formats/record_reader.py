"""Splits a file that is read in pieces into records: rows of CSV (RFC 4180), or lines of JSON.

Every record has its first line and the position after it, so that reading can continue there. A record that cannot be read has a
`fault`, which never affects more than one line. Whatever the bytes are, each is parsed three times at most, and some lines at a time, so
that a caller can let others run in between.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

RECORD_BYTES_MAX = 256 * 1024
"""Largest size of a record; a larger one has the fault `too_long`."""
BOM = b"\xef\xbb\xbf"
LINES_AT_ONCE = 500
"""Lines that are looked at before the records found so far are handed over."""

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
    """Splits a file into records. Blank lines are skipped. Whoever feeds it takes all that a piece yields before the next one."""

    def feed(self, piece: bytes) -> Iterator[list[Record]]:
        """The records that this piece completes, some at a time, or none."""

    def finish(self) -> Iterator[list[Record]]:
        """The last records, if the file does not end with a line break, or with a quote that is not closed."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with its line break; the content is None if it is too long."""

    content: bytes | None
    size: int
    end: int
    """Bytes of the file before and including it."""


class _LineSplitter:
    """Splits pieces into lines. Of a line that is too long it holds at most `RECORD_BYTES_MAX` bytes."""

    def __init__(self, position: int) -> None:
        self._partial = bytearray()
        self._dropped_bytes = 0
        self._end = position

    def feed(self, piece: bytes) -> list[_Line]:
        *whole, rest = piece.split(b"\n")
        lines = [self._complete(content + b"\n") for content in whole]
        self._partial += rest
        if len(self._partial) > RECORD_BYTES_MAX:
            self._dropped_bytes += len(self._partial)
            self._partial.clear()
        return lines

    def finish(self) -> list[_Line]:
        return [self._complete(b"")] if self._partial or self._dropped_bytes else []

    def _complete(self, content: bytes) -> _Line:
        if self._partial or self._dropped_bytes:
            content = bytes(self._partial) + content
        size = self._dropped_bytes + len(content)
        self._end += size
        self._partial.clear()
        self._dropped_bytes = 0
        return _Line(content if size <= RECORD_BYTES_MAX else None, size, self._end)


class LineReader:
    """Reads each line as a record."""

    def __init__(self, *, position: int = 0, line: int = 1):
        self._lines = _LineSplitter(position)
        self._line = line

    def feed(self, piece: bytes) -> Iterator[list[Record]]:
        return _some_at_a_time(self._steps(self._lines.feed(piece)))

    def finish(self) -> Iterator[list[Record]]:
        return _some_at_a_time(self._steps(self._lines.finish()))

    def _steps(self, lines: list[_Line]) -> Iterator[Record | None]:
        for line in lines:
            number = self._line
            self._line += 1
            text, fault = _decoded(line)
            blank = fault is None and not text.strip()
            yield None if blank else Record(number, self._line, line.end, text=text, fault=fault)


class CsvReader:
    """Reads each row of a CSV file as a record; a quoted cell can contain line breaks.

    A quote that is not closed would consume the rest of the file. So if a row cannot be read, only its first line is a faulty record,
    and the next line is read as the beginning of a row. What is known of the lines after it is kept: between two lines one thing alone
    counts, whether a quoted cell is open, so what a line does to an open cell is the same for all rows that reach it.
    """

    def __init__(self, *, separator: str = ",", position: int = 0, line: int = 1):
        # The limit of the csv module is global and smaller by default; `RECORD_BYTES_MAX` is checked here.
        csv.field_size_limit(RECORD_BYTES_MAX)
        self._separator = separator
        self._lines = _LineSplitter(position)
        self._waiting: list[_Line] = []
        self._taken = 0
        """Lines of `_waiting` whose records are found."""
        self._is_open = False
        """Whether the line after these leaves a quoted cell open."""
        self._reached = 0
        """A line of `_waiting`: those from the open one to this one do not close a quoted cell."""
        self._closing: Literal["closes"] | Fault | None = None
        """What the line `_reached` does to an open cell, once it is looked at."""
        self._line = line

    def feed(self, piece: bytes) -> Iterator[list[Record]]:
        self._waiting.extend(self._lines.feed(piece))
        return _some_at_a_time(self._steps(at_end=False))

    def finish(self) -> Iterator[list[Record]]:
        self._waiting.extend(self._lines.finish())
        return _some_at_a_time(self._steps(at_end=True))

    def _steps(self, *, at_end: bool) -> Iterator[Record | None]:
        """One step for each line that is looked at: the record that is complete by it, if any."""
        while self._taken < len(self._waiting):
            if not self._is_open:
                yield self._begin_row()
            elif self._reached < len(self._waiting):
                yield self._continue_row()
            elif at_end:
                yield self._take(1, fault="csv_malformed")
            else:
                break
        del self._waiting[: self._taken]
        self._reached -= self._taken
        self._taken = 0

    def _begin_row(self) -> Record | None:
        text, fault = _decoded(self._waiting[self._taken])
        if fault is not None:
            return self._take(1, fault=fault)
        try:
            cells = _cells(text, self._separator)
        except csv.Error:
            return self._take(1, fault="csv_malformed")
        if cells is not None:
            return self._take(1, cells=cells)
        self._is_open = True
        if self._reached <= self._taken:
            self._reached, self._closing = self._taken + 1, None
        return None

    def _continue_row(self) -> Record | None:
        first, line = self._waiting[self._taken], self._waiting[self._reached]
        if line.end - first.end + first.size > RECORD_BYTES_MAX:
            return self._take(1, fault="too_long")
        if self._closing is None:
            self._closing = self._look_at(line)
            if self._closing is None:
                self._reached += 1
                return None
        if self._closing != "closes":
            return self._take(1, fault=self._closing)
        lines = self._waiting[self._taken : self._reached + 1]
        text = b"".join(line.content or b"" for line in lines).decode()
        return self._take(len(lines), cells=_cells(text, self._separator) or [])

    def _look_at(self, line: _Line) -> Literal["closes"] | Fault | None:
        """What a line does to a quoted cell that is open at its beginning; None if one is open at its end, too."""
        text, fault = _decoded(line)
        if fault is not None:
            return fault
        try:
            return None if _cells(f'"{text}', self._separator) is None else "closes"
        except csv.Error:
            return "csv_malformed"

    def _take(self, lines: int, *, cells: Sequence[str] = (), fault: Fault | None = None) -> Record | None:
        """The record of the next lines; None if it is blank."""
        number = self._line
        self._line += lines
        self._taken += lines
        self._is_open = False
        if fault is None and not any(map(str.strip, cells)):
            return None
        return Record(number, self._line, self._waiting[self._taken - 1].end, cells=tuple(cells), fault=fault)


def _decoded(line: _Line) -> tuple[str, Fault | None]:
    if line.content is None:
        return "", "too_long"
    try:
        return line.content.decode(), None
    except UnicodeDecodeError:
        return "", "encoding"


def _cells(text: str, separator: str) -> list[str] | None:
    """The cells of a row; None if a quoted cell is open at its end. Raises `csv.Error`."""
    lines = iter((text, ""))
    try:
        return next(csv.reader(lines, strict=True, delimiter=separator))
    except csv.Error:
        # The parser asked for more than the row.
        if next(lines, None) is None:
            return None
        raise


def _some_at_a_time(steps: Iterator[Record | None]) -> Iterator[list[Record]]:
    found: list[Record] = []
    for number, record in enumerate(steps, start=1):
        if record is not None:
            found.append(record)
        if number % LINES_AT_ONCE == 0:
            yield found
            found = []
    yield found
