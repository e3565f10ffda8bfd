"""Composition root: everything that webhooks is made of, in the order in which it is made."""

from fastapi import FastAPI

from shared.auth.seal import KeyRing
from shared.config import parse_keys
from shared.events import billing, identity, jobs
from shared.runtime import Part
from shared.service import Service
from webhooks import api, consumers, fan_out
from webhooks.config import Settings
from webhooks.endpoints import Policy
from webhooks.targets import Targets
from webhooks.worker import Dispatcher, Sender

DESCRIPTION = "Webhook endpoints and signed deliveries (Standard Webhooks). For administrators: no merchant's credential opens any route."


def create_app(settings: Settings) -> FastAPI:
    """Webhooks in the roles of this process."""
    service = Service("webhooks", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    ring = KeyRing(parse_keys(settings.sealing_keys.get_secret_value()))
    policy = Policy(ring, settings.allow_http, settings.allowed_networks, settings.endpoints_max)
    known = Targets(ring)
    sender = Sender(
        timeout_seconds=settings.attempt_timeout_seconds,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        allowed_networks=settings.allowed_networks,
    )
    dispatcher = Dispatcher(
        service.database,
        service.metrics,
        sender,
        known,
        schedule=settings.retry_schedule,
        in_flight_max=settings.in_flight_max,
        endpoint_in_flight_max=settings.endpoint_in_flight_max,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
    )
    service.subscribe(
        topic=jobs.TOPIC,
        group=fan_out.CONSUMER,
        read=consumers.read,
        # A process that does not deliver leaves no room for anything: its deliveries are found in the queue.
        handle=consumers.on_events(targets=known, room=dispatcher.room, lease_seconds=settings.lease_seconds),
    )
    service.database.after_commit.append(consumers.handing_over(dispatcher.accept))
    return service.app(
        routers=[api.endpoint_router(policy), api.delivery_router()],
        parts=[Part("deliveries", dispatcher.run, role="worker")],
    )
