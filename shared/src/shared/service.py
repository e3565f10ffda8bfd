"""What every service is made of, put together in one place: database, outbox, consumers, access, HTTP.

A service's `app.py` makes one of these, adds its own routes, consumers and workers, and asks for the app.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from shared import inbox, kafka, outbox, telemetry
from shared.auth import projections
from shared.auth.access import Access
from shared.auth.credentials import Peppers
from shared.auth.seal import KeyRing
from shared.auth.usage import Usage
from shared.config import ServiceSettings, parse_keys
from shared.database import Database
from shared.errors import Unavailable
from shared.events import Vocabulary
from shared.http import idempotency
from shared.http.app import create_app
from shared.http.routes import Router
from shared.progress import Progress
from shared.runtime import Part, periodically

RecordT = TypeVar("RecordT")

HOUSEKEEPING_SECONDS = 300.0
INBOX_KEPT = timedelta(days=15)
"""Longer than any topic that is consumed through the inbox keeps its records (14 days)."""


class Service:
    """The standing parts of one service. `projects` are the topics from which it learns who may do what."""

    def __init__(self, name: str, settings: ServiceSettings, *, description: str, projects: Sequence[str]):
        self.name = name
        self.settings = settings
        self.description = description
        self.metrics = telemetry.Metrics(name)
        self.database = Database(settings.database_url, application_name=name, pool_size=settings.database_pool_size)
        self.stored_answers = KeyRing({1: settings.secret_bytes})
        self.peppers = Peppers(parse_keys(settings.key_peppers.get_secret_value()))
        self.usage = Usage(self.database, service=name)
        self.access = Access(
            self.database,
            service=name,
            topics=projects,
            peppers=self.peppers,
            usage=self.usage,
            metrics=self.metrics,
            cache_ttl_seconds=settings.access_cache_ttl_seconds,
            max_staleness_seconds=settings.access_max_staleness_seconds,
        )
        self.relay = outbox.Relay(
            self.database, bootstrap_servers=settings.kafka_bootstrap_servers, metrics=self.metrics
        )
        # Own facts take effect in the own projection first; the outbox rows come last.
        self.database.before_commit.append(self.access.apply_own)
        outbox.attach(self.database, self.relay.wake)
        self.database.after_commit.append(self.access.forget_own)
        self._broker = kafka.create_broker(settings.kafka_bootstrap_servers, client_id=name)
        self._subscriptions: list[kafka.Subscription[Any]] = []
        for topic in projects:
            vocabulary = Vocabulary(*projections.IDENTITY_EVENTS, *projections.BILLING_EVENTS)
            self.subscribe(topic=topic, group=f"{name}.access", read=vocabulary.read, handle=projections.apply)

    def subscribe(
        self,
        *,
        topic: str,
        group: str,
        read: Callable[[Mapping[str, str], bytes], RecordT | None],
        handle: Callable[[AsyncSession, list[RecordT]], Awaitable[None]],
        arrived: Callable[[Sequence[RecordT]], None] | None = None,
    ) -> None:
        """Consume a topic: each batch is read record by record and handled in one transaction (and `arrived` is told of it before)."""
        subscription = kafka.subscribe(
            self._broker,
            topic=topic,
            group=group,
            read=read,
            handle=handle,
            arrived=arrived,
            database=self.database,
            metrics=self.metrics,
            instance=self.settings.instance,
        )
        self._subscriptions.append(subscription)

    def app(
        self,
        *,
        routers: Sequence[Router],
        parts: Sequence[Part] = (),
        ready: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> FastAPI:
        """The application, with the relay, the given parts and the consumers as its parts, in the order in which they start."""

        consumers = kafka.Consumers(self._broker, self._subscriptions)
        progress = Progress(
            self.database,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            subscriptions=self._subscriptions,
            metrics=self.metrics,
        )

        async def purge() -> None:
            async with self.database.transaction() as session:
                await idempotency.purge(session, self.settings.idempotency_hours)
            await inbox.purge(self.database, older_than=INBOX_KEPT)

        async def consuming() -> None:
            if "consumers" in self.settings.role_set and not consumers.ready:
                raise Unavailable("the consumers have not joined their groups yet")

        return create_app(
            service=self.name,
            description=self.description,
            settings=self.settings,
            database=self.database,
            access=self.access,
            stored_answers=self.stored_answers,
            metrics=self.metrics,
            routers=routers,
            parts=[
                Part("housekeeping", periodically(purge, HOUSEKEEPING_SECONDS), role="relay"),
                Part("relay", self.relay.run, role="relay"),
                Part("usage", self.usage.run, role="api"),
                *parts,
                Part("progress", progress.run, role="consumers"),
                Part("consumers", consumers.run, role="consumers"),
            ],
            ready=[*ready, consuming],
        )
