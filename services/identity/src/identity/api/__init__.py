"""Identity's HTTP edge, split by noun: each route declares who may call it, parses, and calls one operation."""
