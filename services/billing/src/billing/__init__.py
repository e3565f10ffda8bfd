"""Billing: one subscription per tenant, the trial that it starts with, and the instant at which the trial ends."""
