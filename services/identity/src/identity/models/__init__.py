"""Identity's tables and the shapes of its API, by noun."""
