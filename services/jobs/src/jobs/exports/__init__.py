"""Exports: a list of jobs as a file, streamed."""

from jobs.exports.operations import Exports

__all__ = ["Exports"]
