"""Customers: the contacts of jobs, identified by phone number, else e-mail address, else name."""

from jobs.customers.operations import erase
from jobs.customers.queries import list_customers
from jobs.customers.rules import CustomerIds

__all__ = ["CustomerIds", "erase", "list_customers"]
