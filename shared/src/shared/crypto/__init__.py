"""Encryption of stored values."""
