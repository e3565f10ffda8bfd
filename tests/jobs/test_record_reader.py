"""The records of a file do not depend on the size of its pieces, or on where reading continues."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.file_formats.record_reader import RECORD_BYTES_MAX, CsvReader, LineReader, Record, RecordReader
from tests.harness.effort import FACTOR

TEXT = st.text(alphabet='ab,"\n\r é', max_size=12).map(str.encode) | st.binary(max_size=4)
FILES = st.lists(TEXT, max_size=30).map(b"".join)
AWKWARD = (
    b'a,b\n1,"x\ny"\n\n3,"bro"ken\n4,\xff\xfe\n5,"unclosed\n6,ok\n7,"fine ""q"""\r\n8,'
    + b"z" * (RECORD_BYTES_MAX + 10)
    + b"\n9,last"
)
KINDS: list[type[CsvReader] | type[LineReader]] = [CsvReader, LineReader]


def cut(records: RecordReader, content: bytes, piece_bytes: int) -> list[Record]:
    found: list[Record] = []
    for begins in range(0, len(content), piece_bytes):
        found.extend(records.feed(content[begins : begins + piece_bytes]))
    return [*found, *records.finish()]


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
        assert list(records.feed(b"x" * RECORD_BYTES_MAX)) == []
        assert len(records._lines._partial) <= RECORD_BYTES_MAX

    (record,) = records.feed(b"\n")
    assert (record.fault, record.end) == ("too_long", 100 * RECORD_BYTES_MAX + 1)
