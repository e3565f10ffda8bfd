"""An application with the shared edge and a few routes of its own, on a real database, for tests of the edge itself."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import MetaData, text
from sqlalchemy.orm import registry
from sqlmodel import Field as Column
from sqlmodel import SQLModel, col, select

from shared.access import projection
from shared.api import (
    CurrentCaller,
    IfMatch,
    Input,
    Page,
    PageRequest,
    Reading,
    Router,
    Transaction,
    authenticated,
    page,
    public,
    requires,
)
from shared.api.openapi import ApiDescription
from shared.errors import Conflict, NotFound
from shared.events import Event, billing, identity
from shared.ids import MerchantId
from shared.messaging import outbox
from shared.postgres.tables import NAMING_CONVENTION
from shared.service.composition import Service
from shared.service.settings import ServiceSettings
from tests.harness.bodies import SIGNING_ROOT, secret_32
from tests.harness.client import Api
from tests.harness.people import FromEvents, Tenant, subscription
from tests.harness.services import open_database
from tests.harness.stack import BackingStack
from tests.harness.transport import database_with_shared_tables

SECRETS = {
    "key_peppers": f"1:{secret_32()}",
    "secret": secret_32(),
    "signing_roots": SIGNING_ROOT.public_text,
}
"""The same in every application of a test run, as in replicas of one service."""
DESCRIBED = ApiDescription("An edge.", {"notes": "Notes."})


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))):
    """The application's own tables."""


class Note(Base, table=True):
    """A row that the routes work on."""

    __tablename__ = "notes"

    id: int | None = Column(default=None, primary_key=True)
    tenant_id: str
    text: str
    version: int = 1


class NoteIn(Input):
    text: Annotated[str, Field(min_length=1, max_length=20)]
    tags: Annotated[list[Annotated[str, Field(max_length=5)]], Field(max_length=3)] = []
    merchant_id: MerchantId | None = None
    amount: float = 0


class NoteView(BaseModel):
    object: str = "note"
    id: int
    text: str
    version: int


def view(note: Note) -> NoteView:
    return NoteView(id=note.id or 0, text=note.text, version=note.version)


def router() -> Router:
    routes = Router(tags=["notes"])

    @routes.post("/v1/notes", status_code=201)
    @requires("orders.jobs.write", api_credentials=True)
    async def create_note(note: NoteIn, session: Transaction, caller: CurrentCaller) -> NoteView:
        """Create a note; some texts misbehave."""
        if note.text == "conflict":
            session.add(Note(tenant_id=caller.tenant_id, text="half done"))
            outbox.publish(session, subscription(caller.tenant_id, datetime.now(UTC)))
            await session.flush()
            raise Conflict("these notes conflict", current_status="open")
        row = Note(tenant_id=caller.tenant_id, text=note.text)
        session.add(row)
        await session.flush()
        if note.text == "fails at commit":
            await session.execute(text("INSERT INTO late_checks VALUES (1), (1)"))
        if note.text == "crash":
            raise RuntimeError("a mistake of ours, with a secret inside: wbk_live_" + "x" * 49)
        return view(row)

    @routes.patch("/v1/notes/{note_id}")
    @requires("orders.jobs.write")
    async def change_note(
        note_id: int, change: NoteIn, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> NoteView:
        """Change a note."""
        note = await session.get(Note, note_id, with_for_update=True)
        if note is None or note.tenant_id != caller.tenant_id:
            raise NotFound("no such note")
        if_match.check(note.version)
        if change.text == note.text:
            raise Conflict("nothing would change")
        note.text, note.version = change.text, note.version + 1
        return view(note)

    @routes.delete("/v1/notes/{note_id}", status_code=204)
    @requires("orders.jobs.delete", exempt_from_402=True)
    async def delete_note(note_id: int, session: Transaction, caller: CurrentCaller) -> None:
        """Delete a note."""
        note = await session.get(Note, note_id)
        if note is not None and note.tenant_id == caller.tenant_id:
            await session.delete(note)

    _add_reading(routes)
    return routes


def _add_reading(routes: Router) -> None:
    @routes.get("/v1/notes")
    @requires("orders.jobs.read")
    async def list_notes(
        session: Reading, caller: CurrentCaller, paging: PageRequest, text: str | None = None
    ) -> Page[NoteView]:
        """List notes."""
        statement = select(Note).where(Note.tenant_id == caller.tenant_id)
        if text is not None:
            statement = statement.where(Note.text == text)
        return await page(session, statement, paging, by=(col(Note.id),), view=view, filters={"text": text})

    @routes.get("/v1/notes/{note_id}")
    @requires("orders.jobs.read")
    async def get_note(note_id: int, session: Reading, caller: CurrentCaller) -> NoteView:
        """Read a note."""
        note = await session.get(Note, note_id)
        if note is None or note.tenant_id != caller.tenant_id:
            raise NotFound("no such note")
        return view(note)

    @routes.get("/v1/hello")
    @public()
    async def say_hello() -> NoteView:
        """Greet anybody."""
        return NoteView(id=0, text="hello", version=1)

    @routes.get("/v1/anyone")
    @authenticated(api_credentials=True, merchant_session=True, exempt_from_402=True)
    async def greet_caller(caller: CurrentCaller) -> NoteView:
        """Greet a caller."""
        return NoteView(id=0, text=caller.actor, version=1)


@dataclass
class EdgeTestApp:
    """The running application with its database; access events are applied at once, without Kafka."""

    app: FastAPI
    service: Service
    client: httpx.AsyncClient
    nobody: Api = field(init=False)
    people: FromEvents = field(init=False)

    def __post_init__(self) -> None:
        self.nobody = Api(self.client)
        self.people = FromEvents(self.nobody, self.service.peppers, self.publish)

    async def publish(self, *events: Event) -> None:
        """Apply what would arrive through Kafka."""
        async with self.service.database.transaction() as session:
            await projection.apply(session, events)
        self.service.access.forget("*")

    async def create_tenant(self, **more: Any) -> Tenant:
        """A tenant with an owner, on trial for a day unless `more` says otherwise."""
        return await self.people.create_tenant(**{"ends_in": timedelta(days=1), **more})

    async def caught_up(self, topics: Sequence[str], at: datetime) -> None:
        """Record that all events of these topics up to this instant are applied."""
        async with self.service.database.transaction() as session:
            for topic in topics:
                await session.execute(
                    text(
                        "INSERT INTO consumer_progress VALUES ('edge.access', :topic, :at, 0)"
                        " ON CONFLICT (consumer, topic) DO UPDATE SET caught_up_at = :at"
                    ),
                    {"topic": topic, "at": at},
                )
        await self.service.access.refresh()

    async def count(self, statement: str) -> int:
        """The number that this statement counts."""
        async with self.service.database.reading() as session:
            return int((await session.execute(text(statement))).scalar_one())


async def edge_database(backing: BackingStack) -> str:
    """The URL of a new database with the shared tables and those of the routes."""
    url = await database_with_shared_tables(backing)
    database = open_database(url)
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.run_sync(Base.metadata.create_all)
        await session.execute(text("CREATE TABLE late_checks (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    await database.close()
    return url


@asynccontextmanager
async def run_edge_app(url: str, **overrides: Any) -> AsyncIterator[EdgeTestApp]:
    """The application in this process, with HTTP served over ASGI; Kafka is not touched."""
    values = {**SECRETS, "port": 1, "kafka_bootstrap_servers": "127.0.0.1:1", "roles": "api", **overrides}
    settings = ServiceSettings(database_url=url, **values)
    service = Service(
        "edge",
        settings,
        description=DESCRIBED,
        projects=(identity.TOPIC, billing.TOPIC),
    )
    app = service.app(routers=[router()])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://edge") as client,
    ):
        edge = EdgeTestApp(app, service, client)
        await edge.people.introduce()
        await edge.caught_up((identity.TOPIC, billing.TOPIC), datetime.now(UTC) + timedelta(hours=1))
        yield edge
