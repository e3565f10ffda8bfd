"""Webhooks: a tenant's endpoints, and the signed delivery of events to them, at least once and without one holding up another."""
