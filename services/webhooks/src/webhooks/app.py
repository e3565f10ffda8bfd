"""Composition root: the parts of webhooks, in the order in which they are made."""

from datetime import timedelta

from fastapi import FastAPI

from shared.api.openapi import ApiDescription, read_glossary
from shared.chassis.parts import Part
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.events import billing, identity, jobs
from shared.service.composition import Service
from webhooks.config import Settings
from webhooks.deliveries import EndpointTester
from webhooks.deliveries import routes as deliveries_routes
from webhooks.deliveries.rules import Failure
from webhooks.deliveries.schemas import AttemptResult, DeliveryStatus, ResponseClass
from webhooks.dispatch import Dispatcher, ThrottleLimits
from webhooks.endpoints import DisablePolicy, EndpointCache, EndpointPolicy
from webhooks.endpoints import routes as endpoints_routes
from webhooks.endpoints.schemas import DisabledReason
from webhooks.events import consumer as events_consumer
from webhooks.events import routes as events_routes
from webhooks.events import worker as events_worker
from webhooks.health_reports import routes as health_routes
from webhooks.health_reports.rules import HealthState
from webhooks.http_client import Cause, CauseDetail, Sender
from webhooks.match_previews import routes as previews_routes
from webhooks.notices import announce_results
from webhooks.postgres import AutocommitConnection
from webhooks.replays import ReplayLimits
from webhooks.replays import routes as replays_routes
from webhooks.replays import worker as replays_worker
from webhooks.replays.schemas import ReplayFailure, ReplayKind, ReplayStatus

DESCRIPTION = ApiDescription(
    "Webhook endpoints and signed deliveries (Standard Webhooks). For administrators: merchants have no access to any route.",
    tags={
        "webhook endpoints": "Where events are sent, and with which secrets.",
        "deliveries": "What was sent, sending it again, and replays.",
        "events": "The feed of events, and the event types.",
    },
    enums={
        "DeliveryStatus": DeliveryStatus,
        "ResponseClass": ResponseClass,
        "AttemptResult": AttemptResult,
        "HealthState": HealthState,
        "Cause": Cause,
        "CauseDetail": CauseDetail,
        "DeliveryFailure": Failure,
        "DisabledReason": DisabledReason,
        "ReplayKind": ReplayKind,
        "ReplayStatus": ReplayStatus,
        "ReplayFailure": ReplayFailure,
    },
    glossary=read_glossary("webhooks"),
)


def create_app(settings: Settings) -> FastAPI:
    """The application of webhooks, in the roles of this process."""
    service = Service("webhooks", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    encryptor = Encryptor(parse_keys(settings.sealing_keys.get_secret_value()))
    retention = timedelta(days=settings.retention_days)
    limits = ReplayLimits(settings.replays_max, settings.replay_rate_per_second, retention)
    policy = EndpointPolicy(encryptor, settings.allow_http, settings.allowed_networks, settings.endpoints_max)
    endpoint_cache = EndpointCache(encryptor)
    sender = Sender(
        timeout_seconds=settings.attempt_timeout_seconds,
        dns_timeout_seconds=settings.dns_timeout_seconds,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        first_byte_timeout_seconds=settings.first_byte_timeout_seconds,
        ca_file=settings.ca_file,
        allowed_networks=settings.allowed_networks,
    )
    disable_policy = DisablePolicy(settings.disable_after_seconds, settings.disable_failures_min)
    dispatcher = Dispatcher(
        service.database,
        service.metrics,
        sender,
        endpoint_cache,
        schedule=settings.retry_schedule,
        in_flight_max=settings.in_flight_max,
        endpoint_in_flight_max=settings.endpoint_in_flight_max,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
        limits=ThrottleLimits(settings.endpoint_in_flight_max, settings.breaker_failures),
        disable_policy=disable_policy,
        announce=announce_results(service.announcer),
    )
    autocommit = AutocommitConnection(service.database, "webhooks-fan-out")
    service.subscribe(
        topic=jobs.TOPIC,
        group=events_consumer.CONSUMER_GROUP,
        read=events_consumer.read_event,
        on_new_records=events_consumer.on_new_events(endpoint_cache=endpoint_cache, dispatcher=dispatcher),
        # In a process without the role `worker` the dispatcher has no room: all deliveries go to the queue.
        handle=events_consumer.on_batch(
            endpoint_cache=endpoint_cache,
            dispatcher=dispatcher,
            autocommit=autocommit,
            lease_seconds=settings.lease_seconds,
        ),
    )
    service.database.after_commit.append(events_consumer.hand_over_after_commit(dispatcher))
    return service.app(
        routers=[
            endpoints_routes.router(
                policy, limits, EndpointTester(service.database, encryptor, service.response_encryptor, sender.attempt)
            ),
            deliveries_routes.router(encryptor),
            health_routes.router(disable_policy),
            previews_routes.router(),
            replays_routes.router(limits),
            events_routes.router(service.streams, service.database, retention),
        ],
        parts=[
            Part("fan-out", autocommit.run, role="consumers"),
            Part("endpoints", lambda: endpoint_cache.run(service.database)),
            Part(
                "partitions",
                events_worker.maintaining_partitions(service.database, retention_days=settings.retention_days),
                role="worker",
            ),
            service.tasks([replays_worker.task_kind()]),
            Part("replay purge", replays_worker.purging(service.database), role="worker"),
            Part("deliveries", dispatcher.run, role="worker"),
        ],
    )
