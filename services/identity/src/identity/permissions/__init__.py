"""The catalogue of permissions."""
