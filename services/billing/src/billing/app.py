"""Composition root: the parts of billing, in the order in which they are created."""

from fastapi import FastAPI

from billing.config import Settings
from billing.subscriptions import routes as subscriptions_routes
from billing.subscriptions.consumer import IDENTITY_EVENTS, on_identity_events
from billing.subscriptions.worker import task_kinds
from shared.api.openapi import ApiDescription, read_glossary
from shared.events import identity
from shared.service.composition import Service

DESCRIPTION = ApiDescription(
    "Trials and subscriptions of tenants.",
    tags={"billing": "Subscriptions and trials."},
    glossary=read_glossary("billing"),
)


def create_app(settings: Settings) -> FastAPI:
    """Billing in the roles of this process."""
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
    return service.app(routers=[subscriptions_routes.router()], parts=[service.tasks(task_kinds())])
