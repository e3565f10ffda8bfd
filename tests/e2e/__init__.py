"""End-to-end tests: one suite of real processes for this whole package."""
