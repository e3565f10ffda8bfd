"""Tests that kill real processes: servers of their own for this whole package."""
