"""Webhooks: the endpoints of tenants, and signed delivery of events to them. At least once; no endpoint delays another."""
