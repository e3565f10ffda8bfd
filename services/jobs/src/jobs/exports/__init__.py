"""Exports: a list of jobs as a file, streamed."""

from jobs.exports.operations import Exports
from jobs.exports.schemas import ExportQuery

__all__ = ["ExportQuery", "Exports"]
