"""The file formats of jobs: CSV and NDJSON. Imports read them record by record, exports write them row by row."""

from jobs.file_formats.csv_format import CsvColumns, format_heading, format_rows, parse_heading, parse_job
from jobs.file_formats.record_reader import BOM, RECORD_BYTES_MAX, CsvReader, Fault, LineReader, Record, RecordReader
from jobs.file_formats.schemas import FORMATS, Format

__all__ = [
    "BOM",
    "FORMATS",
    "RECORD_BYTES_MAX",
    "CsvColumns",
    "CsvReader",
    "Fault",
    "Format",
    "LineReader",
    "Record",
    "RecordReader",
    "format_heading",
    "format_rows",
    "parse_heading",
    "parse_job",
]
