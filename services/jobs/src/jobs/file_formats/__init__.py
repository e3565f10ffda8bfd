"""The file formats of jobs: CSV and NDJSON. Imports read them record by record, exports write them row by row."""

from jobs.file_formats.charsets import UTF_8, charset_of, require_charset, to_utf8
from jobs.file_formats.csv_format import (
    CsvColumns,
    count_columns,
    format_heading,
    format_refused_heading,
    format_refused_rows,
    format_rows,
    parse_heading,
    parse_job,
    unprotected,
)
from jobs.file_formats.record_reader import BOM, RECORD_BYTES_MAX, CsvReader, Fault, LineReader, Record, RecordReader
from jobs.file_formats.schemas import EXAMPLES, FORMATS, SEPARATORS, Format, Separator

__all__ = [
    "BOM",
    "EXAMPLES",
    "FORMATS",
    "RECORD_BYTES_MAX",
    "SEPARATORS",
    "UTF_8",
    "CsvColumns",
    "CsvReader",
    "Fault",
    "Format",
    "LineReader",
    "Record",
    "RecordReader",
    "Separator",
    "charset_of",
    "count_columns",
    "format_heading",
    "format_refused_heading",
    "format_refused_rows",
    "format_rows",
    "parse_heading",
    "parse_job",
    "require_charset",
    "to_utf8",
    "unprotected",
]
