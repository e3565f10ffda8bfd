"""The records of a file do not depend on the size of its pieces, or on where reading continues."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.file_formats import record_reader
from jobs.file_formats.record_reader import (
    LINES_AT_ONCE,
    RECORD_BYTES_MAX,
    CsvReader,
    LineReader,
    Record,
    RecordReader,
)
from tests.harness.effort import FACTOR
from tests.harness.job_files import parser_counted

TEXT = st.text(alphabet='ab,"\n\r é', max_size=12).map(str.encode) | st.binary(max_size=4)
FILES = st.lists(TEXT, max_size=30).map(b"".join)
AWKWARD = (
    b'a,b\n1,"x\ny"\n\n3,"bro"ken\n4,\xff\xfe\n5,"unclosed\n6,ok\n7,"fine ""q"""\r\n8,'
    + b"z" * (RECORD_BYTES_MAX + 10)
    + b"\n9,last"
)
HOSTILE_LINES = st.lists(
    st.sampled_from(
        [b'x","\n', b'"\n', b"\n", b'"a\n', b'a"b"\n', b'"a"b\n', b'"";"\n', b"a,b\n", b'"\xff\n', b'"\r"', b'x"y"']
    )
    | st.binary(max_size=4),
    min_size=1,
    max_size=6,
)
PARSED_MAX = 3
"""How often each byte may be parsed."""
KINDS: list[type[CsvReader] | type[LineReader]] = [CsvReader, LineReader]


def cut(records: RecordReader, content: bytes, piece_bytes: int) -> list[Record]:
    return [record for found in steps(records, content, piece_bytes) for record in found]


def steps(records: RecordReader, content: bytes, piece_bytes: int) -> Iterator[list[Record]]:
    for begins in range(0, len(content), piece_bytes):
        yield from records.feed(content[begins : begins + piece_bytes])
    yield from records.finish()


@pytest.mark.parametrize("kind", KINDS)
@given(content=FILES, piece_bytes=st.integers(1, 40))
@settings(max_examples=300 * FACTOR)
def test_the_size_of_the_pieces_changes_nothing(
    kind: type[CsvReader] | type[LineReader], content: bytes, piece_bytes: int
) -> None:
    assert cut(kind(), content, piece_bytes) == cut(kind(), content, len(content) + 1)


@pytest.mark.parametrize("kind", KINDS)
@given(content=FILES)
@settings(max_examples=200 * FACTOR)
def test_reading_goes_on_after_any_record(kind: type[CsvReader] | type[LineReader], content: bytes) -> None:
    whole = cut(kind(), content, len(content) + 1)

    for place, record in enumerate(whole):
        rest = cut(kind(position=record.end, line=record.next_line), content[record.end :], 7)
        assert rest == whole[place + 1 :]


def test_a_fault_affects_only_its_line() -> None:
    found = [(record.line, record.cells or record.fault) for record in cut(CsvReader(), AWKWARD, 1000)]

    assert found == [
        (1, ("a", "b")),
        (2, ("1", "x\ny")),
        (5, "csv_malformed"),
        (6, "encoding"),
        (7, "csv_malformed"),
        (8, ("6", "ok")),
        (9, ("7", 'fine "q"')),
        (10, "too_long"),
        (11, ("9", "last")),
    ]


def test_an_endless_line_is_not_stored() -> None:
    records = LineReader()
    for _ in range(100):
        assert list(records.feed(b"x" * RECORD_BYTES_MAX)) == [[]]
        assert len(records._lines._partial) <= RECORD_BYTES_MAX

    ((record,),) = records.feed(b"\n")
    assert (record.fault, record.end) == ("too_long", 100 * RECORD_BYTES_MAX + 1)


@pytest.mark.parametrize("record_bytes_max", [500, RECORD_BYTES_MAX])
@given(lines=HOSTILE_LINES, times=st.integers(1, 400), piece_bytes=st.sampled_from([7, 1_000, 8_192]))
@settings(max_examples=40 * FACTOR)
@example(lines=[b'x","\n'], times=4_000, piece_bytes=8_192)
@example(lines=[b'"' + b"\n" * 5_000, b'x"y"'], times=2, piece_bytes=8_192)
@example(lines=[b'"\n' * 300 + b"a" * 9_000 + b'"b\n'], times=2, piece_bytes=8_192)
def test_a_byte_of_any_file_is_parsed_a_few_times_at_most(
    record_bytes_max: int, lines: list[bytes], times: int, piece_bytes: int
) -> None:
    content = b"".join(lines) * times

    with patch.object(record_reader, "RECORD_BYTES_MAX", record_bytes_max), parser_counted() as given_sizes:
        cut(CsvReader(), content, piece_bytes)

    # A quote is added to a line that is looked at inside a cell.
    assert sum(given_sizes) <= PARSED_MAX * len(content) + content.count(b"\n") + 1
    assert len(given_sizes) <= 2 * PARSED_MAX * (content.count(b"\n") + 1)


@given(lines=HOSTILE_LINES, times=st.integers(1, 400))
@settings(max_examples=40 * FACTOR)
@example(lines=[b"\n"], times=20_000)
@example(lines=[b'"' + b"\n" * 20_000, b'x"y"'], times=1)
def test_others_can_run_after_some_lines(lines: list[bytes], times: int) -> None:
    content = b"".join(lines) * times

    with parser_counted() as given_sizes:
        for _ in steps(CsvReader(), content, 8_192):
            assert len(given_sizes) <= 2 * PARSED_MAX * LINES_AT_ONCE
            given_sizes.clear()
