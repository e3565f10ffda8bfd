"""Tests of the console: one suite of real processes with it, and one browser, for this whole package."""
