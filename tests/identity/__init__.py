"""Tests of identity: one running service for this whole package."""
