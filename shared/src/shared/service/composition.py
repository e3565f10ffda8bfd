"""Composes a service: database, outbox, consumers, access, HTTP.

A service's `app.py` makes a `Service`, adds its own routes, consumers and workers, and gets the application.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access import projection
from shared.access.authentication import Access
from shared.access.credentials import Peppers
from shared.access.last_used import LastUsedTracker
from shared.access.receipts import ReceiptReporter, replica_name
from shared.access.request_log import RequestLog
from shared.access.signing_roots import SigningKeyUnproven, SigningRoots, parse_roots
from shared.api import idempotency
from shared.api.app import create_app
from shared.api.edge import Edge
from shared.api.event_streams import EventStreams
from shared.api.in_flight import ArrivingBodies
from shared.api.openapi import ApiDescription
from shared.api.rate_limits import RateLimits
from shared.api.routes import Router
from shared.chassis.health import named
from shared.chassis.parts import Part, periodically
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.errors import Unavailable
from shared.events import Event, Vocabulary, receipts
from shared.live import Announcer, Hub
from shared.live.announcer import NoticesOf
from shared.messaging import consumer, faststream_adapter, outbox, relay, subscriber
from shared.messaging.lag import LagMonitor
from shared.messaging.producer import Producer
from shared.observability import metrics
from shared.postgres.database import Database
from shared.service.access_groups import group_name
from shared.service.settings import ServiceSettings
from shared.tasks import TaskKind, TaskWorker

RecordT = TypeVar("RecordT")

HOUSEKEEPING_SECONDS = 300.0
_ACCESS_VOCABULARY = Vocabulary(*projection.ACCESS_EVENTS)

log = structlog.get_logger(__name__)


class Service:
    """The common parts of a service. `projects` are the topics of its access projection; `notices_of` an event go to streams."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        description: ApiDescription,
        projects: Sequence[str],
        notices_of: NoticesOf | None = None,
    ):
        self.name = name
        self.settings = settings
        self.description = description
        self.metrics = metrics.Metrics(name)
        self.database = Database(settings.database_url, application_name=name, pool_size=settings.database_pool_size)
        self.response_encryptor = Encryptor({1: settings.secret_bytes})
        self.peppers = Peppers(parse_keys(settings.key_peppers.get_secret_value()))
        self.signing_roots = SigningRoots(parse_roots(settings.signing_roots))
        self._keys_refused = self.metrics.counter(
            "waybill_signing_keys_refused", "Published signing keys that no root key has proven."
        )
        self.last_used = LastUsedTracker(self.database, service=name)
        self.request_log = RequestLog(self.database, service=name, metrics=self.metrics)
        self.receipts = ReceiptReporter(
            Producer(settings.kafka_bootstrap_servers, client_id=f"{name}-receipts", security=settings.kafka_security),
            topic=f"{settings.kafka_prefix}{receipts.TOPIC}",
            service=name,
            replica=replica_name(settings.instance),
        )
        self.access = Access(
            self.database,
            service=name,
            topics=projects,
            peppers=self.peppers,
            roots=self.signing_roots,
            last_used=self.last_used,
            # Only a process with the API decides by what it has in memory.
            receipts=self.receipts if "api" in settings.role_set else None,
            metrics=self.metrics,
            cache_ttl_seconds=settings.access_cache_ttl_seconds,
            max_staleness_seconds=settings.access_max_staleness_seconds,
        )
        self.relay = relay.Relay(
            self.database,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            security=settings.kafka_security,
            metrics=self.metrics,
            prefix=settings.kafka_prefix,
        )
        self.announcer = Announcer(self.database, notices_of)
        self.hub = Hub(self.database, service=name)
        self.streams = EventStreams(
            self.database,
            self.access,
            self.hub,
            self.metrics,
            at_once_max=settings.streams_max,
            per_tenant_max=settings.streams_per_tenant_max,
        )
        self.access.watchers.append(self.hub.doubt)
        self.announcer.attach()
        # The service's own events change its own projection first; the outbox rows come last.
        self.database.before_commit.append(self.access.apply_own_events)
        outbox.attach(self.database, self.relay.wake)
        self.database.after_commit.append(self.access.invalidate_after_own_events)
        self._broker = faststream_adapter.PrefetchingBroker(
            settings.kafka_bootstrap_servers, client_id=name, security=settings.kafka_security
        )
        self._subscriptions: list[subscriber.Subscription[Any]] = []
        for topic in projects:
            self.subscribe(topic=topic, group=group_name(name), read=self._read_access_event, handle=projection.apply)

    def _read_access_event(self, headers: Mapping[str, str], value: bytes) -> Event | None:
        """One record of the access projection. Raises `SigningKeyUnproven`, which makes the record a dead letter."""
        event = _ACCESS_VOCABULARY.read(headers, value)
        try:
            if event is not None:
                self.signing_roots.check(event)
        except SigningKeyUnproven as error:
            self._keys_refused.inc()
            log.error("signing_key_refused", reason=str(error))
            raise
        return event

    def subscribe(
        self,
        *,
        topic: str,
        group: str,
        read: Callable[[Mapping[str, str], bytes], RecordT | None],
        handle: Callable[[AsyncSession, list[RecordT]], Awaitable[None]],
        on_new_records: Callable[[Sequence[RecordT]], None] | None = None,
    ) -> None:
        """Consume a topic: each batch is read record by record and handled in one transaction; `on_new_records` gets it before."""
        subscription = subscriber.subscribe(
            self._broker,
            topic=topic,
            group=group,
            read=read,
            handle=handle,
            on_new_records=on_new_records,
            database=self.database,
            metrics=self.metrics,
            instance=self.settings.instance,
            prefix=self.settings.kafka_prefix,
        )
        self._subscriptions.append(subscription)

    def tasks(self, kinds: Sequence[TaskKind]) -> Part:
        """The part that works on the service's tasks of these kinds."""
        return Part("tasks", TaskWorker(self.database, kinds, self.metrics).run, role="worker")

    def app(
        self,
        *,
        routers: Sequence[Router],
        parts: Sequence[Part] = (),
        ready: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> FastAPI:
        """The application, with the relay, the given parts and the consumers as its parts, in the order in which they start."""

        for warning in self.settings.in_the_clear:
            log.warning(warning, what="it is reached without TLS on another machine")
        consumers = consumer.Consumers(self._broker, self._subscriptions)
        lag_monitor = LagMonitor(
            self.database,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            security=self.settings.kafka_security,
            subscriptions=self._subscriptions,
            metrics=self.metrics,
        )

        async def purge() -> None:
            async with self.database.transaction() as session:
                await idempotency.purge(session, self.settings.idempotency_hours)

        async def consuming() -> None:
            if "consumers" in self.settings.role_set and not consumers.ready:
                raise Unavailable("the consumers have not joined their groups yet")

        app = create_app(
            service=self.name,
            description=self.description,
            settings=self.settings,
            edge=self._edge(),
            metrics=self.metrics,
            routers=routers,
            parts=[
                Part("housekeeping", periodically(purge, HOUSEKEEPING_SECONDS), role="relay"),
                Part("relay", self.relay.run, role="relay"),
                Part("last used", self.last_used.run, role="api"),
                Part("request log", self.request_log.run, role="api"),
                Part("receipts", self.receipts.run, role="api"),
                Part("announcer", self.announcer.run),
                Part("live notices", self.hub.run, role="api"),
                *parts,
                Part("consumer lag", lag_monitor.run, role="consumers"),
                Part("consumers", consumers.run, role="consumers"),
            ],
            ready=[*ready, named("consumers", consuming)],
        )
        app.state.streams.append(self.hub.end)
        return app

    def _edge(self) -> Edge:
        settings = self.settings
        return Edge(
            database=self.database,
            access=self.access,
            request_log=self.request_log,
            limits=RateLimits(
                credential_rate=settings.credential_rate_per_second,
                tenant_rate=settings.tenant_rate_per_second,
                failures_per_minute=settings.failed_authentications_per_minute,
            ),
            body_bytes_max=settings.body_bytes_max,
            public_body_bytes_max=settings.public_body_bytes_max,
            body_idle_seconds=settings.body_idle_seconds,
            body_seconds=settings.body_seconds,
            arriving_bodies=ArrivingBodies(settings.arriving_bytes_per_credential_max),
            cursor_secret=settings.secret_bytes,
            response_encryptor=self.response_encryptor,
        )
