"""Billing: one subscription per tenant, the trial that it begins with, and the instant at which a trial ends."""
