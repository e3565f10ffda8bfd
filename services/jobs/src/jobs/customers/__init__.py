"""Customers: the contacts of jobs, told apart by phone number, e-mail address or name."""

from jobs.customers.operations import erase
from jobs.customers.queries import CustomerIds, list_customers

__all__ = ["CustomerIds", "erase", "list_customers"]
