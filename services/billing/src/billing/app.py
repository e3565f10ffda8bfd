"""Composition root: the parts of billing, in the order in which they are created."""

from types import MappingProxyType

from fastapi import FastAPI

from billing.config import Settings
from billing.invoice_documents import routes as invoice_documents_routes
from billing.invoice_documents import worker as invoice_documents_worker
from billing.invoices import routes as invoices_routes
from billing.invoices.rules import InvoiceStatus, LineKind
from billing.ledger import routes as ledger_routes
from billing.ledger.rules import Account, Cause
from billing.periods import Interval
from billing.plans import routes as plans_routes
from billing.providers import Providers
from billing.subscriptions import routes as subscriptions_routes
from billing.subscriptions.consumer import IDENTITY_EVENTS, on_identity_events
from billing.subscriptions.schemas import CancellationTime, Transition
from billing.subscriptions.terms import Status
from billing.subscriptions.worker import task_kinds
from billing.tenants.consumer import TENANT_EVENTS, on_tenant_events
from billing.test_clocks import routes as test_clocks_routes
from billing.test_clocks import worker as test_clocks_worker
from billing.test_clocks.consumer import REPORTS, on_reports
from billing.test_clocks.rules import ClockStatus
from shared.api.openapi import ApiDescription, read_glossary
from shared.events import identity, receipts
from shared.service.composition import Service

DESCRIPTION = ApiDescription(
    "Trials, plans, subscriptions, invoices and payments of tenants.",
    tags={"billing": "Plans, subscriptions, invoices and payments."},
    enums={
        "SubscriptionStatus": Status,
        "SubscriptionTransition": Transition,
        "CancellationTime": CancellationTime,
        "PlanInterval": Interval,
        "InvoiceStatus": InvoiceStatus,
        "InvoiceLineKind": LineKind,
        "LedgerAccount": Account,
        "LedgerCause": Cause,
        "TestClockStatus": ClockStatus,
    },
    glossary=read_glossary("billing"),
)


def create_app(settings: Settings, *, providers: Providers = MappingProxyType({})) -> FastAPI:
    """Billing in the roles of this process, with these payment providers."""
    service = Service(
        "billing",
        settings,
        description=DESCRIPTION,
        projects=(identity.TOPIC,),
    )
    service.subscribe(
        topic=identity.TOPIC,
        group="billing.trials",
        read=IDENTITY_EVENTS.read,
        handle=on_identity_events(trial_days=settings.trial_days),
    )
    service.subscribe(topic=identity.TOPIC, group="billing.tenants", read=TENANT_EVENTS.read, handle=on_tenant_events)
    service.subscribe(topic=receipts.TOPIC, group="billing.receipts", read=REPORTS.read, handle=on_reports)
    clocks = test_clocks_worker.task_kind(settings.services_awaited)
    documents = invoice_documents_worker.task_kinds(service.database, settings.seller, settings.invoice_language)
    return service.app(
        routers=[
            plans_routes.router(),
            subscriptions_routes.router(),
            invoice_documents_routes.router(),
            invoices_routes.router(),
            ledger_routes.router(),
            test_clocks_routes.router(),
        ],
        parts=[service.tasks([*task_kinds(service.database, providers), *documents, clocks])],
    )
