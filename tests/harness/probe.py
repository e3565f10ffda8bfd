"""A service without a subject: the shared edge with a few routes of its own, on a real database, for tests of the edge itself."""

import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import MetaData, text
from sqlalchemy.orm import registry
from sqlmodel import Field as Column
from sqlmodel import SQLModel, col, select

from shared.access import credentials, projection, tokens
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
from shared.errors import Conflict, NotFound
from shared.events import Event, billing, identity
from shared.ids import MerchantId, new_id
from shared.messaging import outbox
from shared.postgres.database import Database
from shared.postgres.migrations import base_table_statements
from shared.postgres.tables import NAMING_CONVENTION
from shared.service.composition import Service
from shared.service.settings import ServiceSettings

PEPPER = base64.b64encode(b"p" * 32).decode()
SECRET = base64.b64encode(b"s" * 32).decode()


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))):
    """The probe's own tables."""


class Note(Base, table=True):
    """A row that the probe's routes work on."""

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
    routes = Router(tags=["probe"])

    @routes.post("/v1/notes", status_code=201)
    @requires("orders.jobs.write", api_credentials=True)
    async def create_note(note: NoteIn, session: Transaction, caller: CurrentCaller) -> NoteView:
        """Create a note; some texts misbehave."""
        if note.text == "conflict":
            session.add(Note(tenant_id=caller.tenant_id, text="half done"))
            outbox.publish(session, fact(caller.tenant_id))
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


def fact(tenant_id: str) -> Event:
    state = billing.SubscriptionState(tenant_id=tenant_id, status="trialing")
    return billing.TrialStarted(tenant_id=tenant_id, subject=tenant_id, sequence=0, data=state)


@dataclass
class Probe:
    """The running probe with its database and one tenant's people."""

    app: FastAPI
    service: Service
    client: httpx.AsyncClient
    private_key: Ed25519PrivateKey
    key_id: str
    peppers: credentials.Peppers

    async def learn(self, *events: Event) -> None:
        """What would arrive through Kafka."""
        async with self.service.database.transaction() as session:
            await projection.apply(session, events)
        self.service.access.forget("*")

    async def caught_up(self, topics: Sequence[str], at: datetime) -> None:
        async with self.service.database.transaction() as session:
            for topic in topics:
                await session.execute(
                    text(
                        "INSERT INTO consumer_progress VALUES ('probe.access', :topic, :at, 0)"
                        " ON CONFLICT (consumer, topic) DO UPDATE SET caught_up_at = :at"
                    ),
                    {"topic": topic, "at": at},
                )
        await self.service.access.refresh()

    async def tenant(self, *, status: str = "active", ends_in: timedelta | None = timedelta(days=1)) -> "ProbeTenant":
        """A tenant with an owner; `ends_in` None: its subscription is not known."""
        tenant = ProbeTenant(self, new_id("ten"), new_id("usr"))
        await self.learn(tenant.state(status), tenant.user(tenant.owner_id, "owner", []))
        if ends_in is not None:
            await self.learn(tenant.subscription(datetime.now(UTC) + ends_in))
        return tenant

    def token(self, subject_id: str, tenant_id: str, *, issued_at: datetime | None = None) -> dict[str, str]:
        issued = issued_at or datetime.now(UTC)
        claims = tokens.Claims(subject_id, tenant_id, new_id("ses"), issued, issued + timedelta(minutes=5), True)
        return {"Authorization": f"Bearer {tokens.sign(claims, key_id=self.key_id, private_key=self.private_key)}"}

    async def rows(self, statement: str) -> int:
        async with self.service.database.reading() as session:
            return int((await session.execute(text(statement))).scalar_one())


@dataclass
class ProbeTenant:
    probe: Probe
    id: str
    owner_id: str
    version: int = 0

    def _next(self) -> int:
        self.version += 1
        return self.version

    @property
    def owner(self) -> dict[str, str]:
        return self.probe.token(self.owner_id, self.id)

    def state(self, status: str = "active", *, job_review: bool = False) -> Event:
        data = identity.TenantState(
            tenant_id=self.id,
            name=f"Tenant {self.id}",
            status=status,
            country="CA",
            timezone="America/Montreal",
            currency="CAD",
            test=False,
            job_review=job_review,
            owner_id=self.owner_id,
        )
        return identity.TenantUpdated(tenant_id=self.id, subject=self.id, sequence=self._next(), data=data)

    def user(self, user_id: str, kind: str, permissions: list[str], *, status: str = "active") -> Event:
        data = identity.UserState(
            user_id=user_id,
            tenant_id=self.id,
            kind=kind,
            status=status,
            permissions=permissions,
            sessions_valid_from=datetime.now(UTC) - timedelta(minutes=1),
        )
        return identity.UserUpdated(tenant_id=self.id, subject=user_id, sequence=self._next(), data=data)

    def subscription(self, access_until: datetime, status: str = "trialing") -> Event:
        data = billing.SubscriptionState(
            tenant_id=self.id, status=status, trial_ends_at=access_until, access_until=access_until
        )
        return billing.TrialExtended(tenant_id=self.id, subject=self.id, sequence=self._next(), data=data)

    async def staff(self, *permissions: str) -> dict[str, str]:
        user_id = new_id("usr")
        await self.probe.learn(self.user(user_id, "staff", list(permissions)))
        return self.probe.token(user_id, self.id)

    async def merchant(self) -> "ProbeMerchant":
        key = credentials.new_api_key(livemode=True)
        merchant = ProbeMerchant(self, new_id("mer"), new_id("acct"), key)
        await self.probe.learn(merchant.state())
        return merchant


@dataclass
class ProbeMerchant:
    tenant: ProbeTenant
    id: str
    account_id: str
    key: str

    @property
    def pair(self) -> dict[str, str]:
        encoded = base64.b64encode(f"{self.account_id}:{self.key}".encode()).decode()
        return {"Authorization": f"Basic {encoded}"}

    @property
    def session(self) -> dict[str, str]:
        return self.tenant.probe.token(self.id, self.tenant.id)

    def state(self, *, api_access: bool = True, previous: tuple[str, datetime] | None = None) -> Event:
        peppers = self.tenant.probe.peppers
        version = peppers.current_version
        digests = [identity.DigestState(digest=peppers.digest(self.key), pepper_version=version)]
        if previous is not None:
            old, until = previous
            digests.append(identity.DigestState(digest=peppers.digest(old), pepper_version=version, valid_until=until))
        data = identity.MerchantState(
            merchant_id=self.id,
            tenant_id=self.tenant.id,
            business_name="Boulangerie",
            level=2,
            status="active",
            api_access=api_access,
            location_ids=[],
            sessions_valid_from=datetime.now(UTC) - timedelta(minutes=1),
            pair=identity.PairState(account_id=self.account_id, livemode=True, digests=digests),
        )
        return identity.MerchantUpdated(
            tenant_id=self.tenant.id, subject=self.id, sequence=self.tenant._next(), data=data
        )


async def create_plumbing(url: str) -> None:
    """The tables that every service has, in a fresh database."""
    database = Database(url, application_name="tests", pool_size=2)
    async with database.transaction() as session:
        for statement in base_table_statements():
            await session.execute(text(statement))
        connection = await session.connection()
        await connection.run_sync(Base.metadata.create_all)
        await session.execute(text("CREATE TABLE late_checks (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    await database.close()


@asynccontextmanager
async def run_probe(url: str, **overrides: Any) -> AsyncIterator[Probe]:
    """The probe in this process, with HTTP served over ASGI; Kafka is not touched."""
    settings = ServiceSettings(
        database_url=url,
        port=1,
        kafka_bootstrap_servers="127.0.0.1:1",
        key_peppers=f"1:{PEPPER}",
        secret=SECRET,
        **{"roles": "api", **overrides},
    )
    service = Service("probe", settings, description="A probe.", projects=(identity.TOPIC, billing.TOPIC))
    app = service.app(routers=[router()])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://probe") as client,
    ):
        private_key = Ed25519PrivateKey.generate()
        key_id = f"k-{secrets.token_hex(4)}"
        probe = Probe(app, service, client, private_key, key_id, service.peppers)
        key = identity.SigningKeyState(key_id=key_id, algorithm="EdDSA", public_key=tokens.public_text(private_key))
        await probe.learn(identity.SigningKeyPublished(tenant_id=None, subject=key_id, sequence=1, data=key))
        await probe.caught_up((identity.TOPIC, billing.TOPIC), datetime.now(UTC) + timedelta(hours=1))
        yield probe
