"""HTTP routes of customers, and of the erasure of their personal data."""

from typing import Annotated

from fastapi import Query

from jobs import customers
from jobs.customers.schemas import Customer, CustomerFilters, Erasure, ErasureIn
from shared.api import CurrentActor, CurrentCaller, Page, PageRequest, Reading, Router, Transaction, requires


def router(ids: customers.CustomerIds) -> Router:
    """The routes; only for administrators."""
    routes = Router(tags=["customers"])

    @routes.get("/v1/customers")
    @requires("customers.read")
    async def list_customers(
        filters: Annotated[CustomerFilters, Query()], paging: PageRequest, session: Reading, caller: CurrentCaller
    ) -> Page[Customer]:
        """List customers.

        The contacts of jobs, each once, in a stable order. Jobs with the same phone number have the same customer; without a phone
        number, those with the same e-mail address; without both, those with the same name. Deleted and erased jobs do not count.
        """
        return await customers.list_customers(session, caller, ids, filters, paging)

    @routes.post("/v1/customers/erase")
    @requires("customers.erase")
    async def erase_customer(requested: ErasureIn, session: Transaction, actor: CurrentActor) -> Erasure:
        """Erase a customer's personal data.

        It cannot be undone. In every job of this account and mode that matches, deleted ones included, and in the job's history it
        erases contact, address except region and country, geo, instructions, short description, reasons, stops of actions and notes of
        outcomes. Numbers, tags, metadata, counts, dates and statuses stay. Each job publishes `job.updated` with `erased_at`. One call
        erases up to 500 jobs: repeat it while `has_more` is true. It is no error if no job matches.
        """
        return await customers.erase(session, actor, ids, requested)

    return routes
