"""Composition root: everything that webhooks is made of, in the order in which it is made."""

from datetime import timedelta

from fastapi import FastAPI

from shared.chassis.parts import Part
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.events import billing, identity, jobs
from shared.service.composition import Service
from webhooks import consumers, fan_out, partitions, replaying
from webhooks.api import deliveries, endpoints, events, replays
from webhooks.config import Settings
from webhooks.directory import Directory
from webhooks.domain.health import Patience
from webhooks.domain.pacing import PaceLimits
from webhooks.endpoint_tests import Tester
from webhooks.endpoints import Policy
from webhooks.replays import Limits
from webhooks.wire import Wire
from webhooks.worker import Dispatcher, Sender

DESCRIPTION = "Webhook endpoints and signed deliveries (Standard Webhooks). For administrators: no merchant's credential opens any route."


def create_app(settings: Settings) -> FastAPI:
    """Webhooks in the roles of this process."""
    service = Service("webhooks", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    encryptor = Encryptor(parse_keys(settings.sealing_keys.get_secret_value()))
    limits = Limits(settings.replays_max, settings.replay_rate_per_second)
    policy = Policy(encryptor, settings.allow_http, settings.allowed_networks, settings.endpoints_max)
    directory = Directory(encryptor)
    sender = Sender(
        timeout_seconds=settings.attempt_timeout_seconds,
        dns_timeout_seconds=settings.dns_timeout_seconds,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        first_byte_timeout_seconds=settings.first_byte_timeout_seconds,
        ca_file=settings.ca_file,
        allowed_networks=settings.allowed_networks,
    )
    dispatcher = Dispatcher(
        service.database,
        service.metrics,
        sender,
        directory,
        schedule=settings.retry_schedule,
        in_flight_max=settings.in_flight_max,
        endpoint_in_flight_max=settings.endpoint_in_flight_max,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
        limits=PaceLimits(settings.endpoint_in_flight_max, settings.breaker_failures),
        patience=Patience(settings.disable_after_seconds, settings.disable_failures_min),
    )
    wire = Wire(service.database, "webhooks-fan-out")
    service.subscribe(
        topic=jobs.TOPIC,
        group=fan_out.CONSUMER,
        read=consumers.read,
        on_new_records=consumers.on_arrival(directory=directory, taker=dispatcher),
        # A process that does not deliver leaves no room for anything: its deliveries are found in the queue.
        handle=consumers.on_events(
            directory=directory,
            taker=dispatcher,
            wire=wire,
            lease_seconds=settings.lease_seconds,
        ),
    )
    service.database.after_commit.append(consumers.handing_over(dispatcher))
    return service.app(
        routers=[
            endpoints.router(
                policy, limits, Tester(service.database, encryptor, service.response_encryptor, sender.attempt)
            ),
            deliveries.router(),
            replays.router(limits),
            events.router(timedelta(days=settings.retention_days)),
        ],
        parts=[
            Part("fan-out", wire.run, role="consumers"),
            Part("endpoints", lambda: directory.run(service.database)),
            Part("partitions", partitions.Keeper(service.database, settings.retention_days).run, role="worker"),
            Part("replays", lambda: replaying.run(service.database), role="worker"),
            Part("deliveries", dispatcher.run, role="worker"),
        ],
    )
