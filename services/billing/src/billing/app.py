"""Composition root: the parts of billing, in the order in which they are created."""

import asyncio
from datetime import timedelta

from fastapi import FastAPI

from billing.billing_details import routes as billing_details_routes
from billing.checkout import routes as checkout_routes
from billing.checkout import worker as checkout_worker
from billing.checkout.rules import CheckoutStatus
from billing.config import Settings
from billing.invoice_documents import routes as invoice_documents_routes
from billing.invoice_documents import worker as invoice_documents_worker
from billing.invoices import routes as invoices_routes
from billing.invoices.rules import InvoiceStatus, LineKind
from billing.ledger import routes as ledger_routes
from billing.ledger.rules import Account, Cause
from billing.notifications import routes as notifications_routes
from billing.payment_methods import routes as payment_methods_routes
from billing.periods import Interval
from billing.plans import routes as plans_routes
from billing.providers import PaymentProvider, Providers
from billing.providers.fake import FakeProvider
from billing.providers.stripe import StripeProvider
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
from shared.chassis.parts import Part
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
        "CheckoutStatus": CheckoutStatus,
    },
    glossary=read_glossary("billing"),
)


def create_provider(settings: Settings) -> PaymentProvider | None:
    """The payment provider of these settings; None where invoices are paid by hand."""
    match settings.payment_provider:
        case "fake":
            return FakeProvider(settings.fake_provider_url, settings.fake_provider_secret.get_secret_value())
        case "stripe":
            assert settings.stripe_api_key is not None
            key = settings.stripe_api_key.get_secret_value()
            secrets = list(filter(None, settings.stripe_webhook_secrets.get_secret_value().split(",")))
            return StripeProvider(key, url=settings.stripe_api_url, webhook_secrets=secrets)
        case _:
            return None


def _closing(provider: PaymentProvider) -> Part:
    """Closes the connections of the provider when the process stops."""

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await provider.close()

    return Part("payment provider", run)


def create_app(settings: Settings, *, others: Providers | None = None) -> FastAPI:
    """Billing in the roles of this process, with the payment provider of its settings, and others that charge what is theirs."""
    provider = create_provider(settings)
    chargers = {**({provider.name: provider} if provider else {}), **(others or {})}
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
    clocks = test_clocks_worker.task_kind(
        settings.services_awaited, forgotten_after=timedelta(seconds=settings.access_cache_ttl_seconds)
    )
    documents = invoice_documents_worker.task_kinds(service.database, settings.seller, settings.invoice_language)
    return service.app(
        routers=[
            plans_routes.router(),
            billing_details_routes.router(),
            subscriptions_routes.router(),
            notifications_routes.router(provider),
            payment_methods_routes.router(),
            checkout_routes.router(provider, settings.checkout_return_url),
            invoice_documents_routes.router(),
            invoices_routes.router(),
            ledger_routes.router(),
            test_clocks_routes.router(),
        ],
        parts=[
            # Before the workers, so that it stops after them.
            *([_closing(provider)] if provider else []),
            service.tasks(
                [
                    *task_kinds(service.database, chargers),
                    checkout_worker.task_kind(service.database, provider),
                    *documents,
                    clocks,
                ]
            ),
        ],
    )
