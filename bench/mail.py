"""`python -m bench.mail`: mails per second of one replica of identity into the mailbox, compared with a bare SMTP client into the same one.

The replica is whole (API, consumers, relay and worker, in this process), with its own PostgreSQL and Kafka. All mails of a round become due
at one instant; the time ends when the mailbox has the last one. The client of the ceiling sends one finished message, over as many
connections.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.headerregistry import Address

import httpx
import uvloop
from aiosmtplib import SMTP
from psutil import Process
from sqlalchemy import text

from bench.cpu import Account
from bench.figures import Figure, Results
from bench.single import run
from deploy.devstack.mailbox import MAILS_KEPT_MAX
from deploy.devstack.processes import free_ports
from identity import mail
from identity.app import create_encryptor
from identity.mail.rendering import Layouts, Words
from shared.observability.logs import configure_logging
from shared.postgres.database import Database
from tests.harness.identity import CONSOLE, running
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

RUN_SECONDS_MAX = 300.0
ROUNDS = 3
MAILS = MAILS_KEPT_MAX
CONNECTIONS = 8
RATE_AIM = 500
NAMES = {"bare": "a bare mail, mailbox included", "sent": "a mail of the replica, mailbox and servers included"}
COUNT_SECONDS = 0.05


class Mailbox:
    """The mailbox of the private stack, as a process."""

    def __init__(self, port: int, smtp_port: int):
        self.smtp_port = smtp_port
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    async def empty(self) -> None:
        """Forget what has come."""
        (await self._client.delete("/mail/messages")).raise_for_status()

    async def until(self, count: int) -> None:
        """Returns when so many mails are there."""
        while (await self._client.get("/mail/messages?limit=1")).json()["count"] < count:  # noqa: ASYNC110
            await asyncio.sleep(COUNT_SECONDS)

    async def ready(self) -> bool:
        try:
            return (await self._client.get("/mail/messages?limit=1")).is_success
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        await self._client.aclose()


@contextmanager
def _mailbox() -> Iterator[Mailbox]:
    port, smtp_port = free_ports(2)
    command = [sys.executable, "-m", "deploy.devstack.mailbox", "--port", str(port), "--smtp-port", str(smtp_port)]
    with subprocess.Popen(command) as process:
        try:
            yield Mailbox(port, smtp_port)
        finally:
            process.terminate()


def _said() -> mail.Mail:
    return mail.PasswordChanged(changed_at=datetime.now(UTC), address="203.0.113.7")


def _recipient(tenant_id: str, user_id: str, number: int) -> mail.Recipient:
    return mail.Recipient(
        id=user_id,
        tenant_id=tenant_id,
        email=f"person-{number}@example.com",
        name=f"Person {number}",
        language="fr" if number % 2 else "en",
        livemode=True,
    )


async def _bare(smtp_port: int, count: int) -> None:
    """One message again and again, over as many connections as the replica has."""
    words = Words("en", "America/Toronto", CONSOLE)
    layouts = Layouts(sender=Address("Waybill", addr_spec="no-reply@waybill.test"))
    to = _recipient("ten_1", "usr_1", 1)
    address, message = layouts.lay_out(
        "1", to, _said().content(words, "Bench"), words, tenant="Bench", now=datetime.now(UTC)
    )
    left = iter(range(count))

    async def connection() -> None:
        async with SMTP(hostname="127.0.0.1", port=smtp_port) as smtp:
            for _ in left:
                await smtp.sendmail("no-reply@waybill.test", [address], message)

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


async def _write_for_later(database: Database, tenant_id: str, user_id: str, count: int) -> None:
    """Write the mails of a round, for a day on which nobody sends them."""
    async with database.transaction() as session:
        for number in range(count):
            await mail.send(session, _recipient(tenant_id, user_id, number), _said())
        await session.execute(
            text("UPDATE tasks SET due_at = due_at + interval '1 day', next_at = next_at + interval '1 day'")
        )


async def _make_due(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE tasks SET due_at = now(), next_at = now()"))


async def measure(backing: BackingStack, *, quick: bool) -> Results:
    """With a mailbox of its own, which is ready first."""
    with _mailbox() as box:
        try:
            await eventually(box.ready, what="the mailbox is ready")
            return await _measure(backing, box, quick=quick)
        finally:
            await box.close()


async def _measure(backing: BackingStack, box: Mailbox, *, quick: bool) -> Results:
    """Both ways in turn, several rounds."""
    configure_logging("bench", "WARNING")
    results = Results(quick)
    count = MAILS // 4 if quick else MAILS
    rates: dict[str, list[float]] = {}
    costs_us: dict[str, list[float]] = {}

    async def timed(name: str, work: Callable[[], Awaitable[None]]) -> None:
        await box.empty()
        began, spent, account = time.monotonic(), time.process_time(), Account({"all": Process()})
        await work()
        await box.until(count)
        rates.setdefault(name, []).append(count / (time.monotonic() - began))
        costs_us.setdefault(name, []).append((time.process_time() - spent) * 1e6 / count)
        usage = account.usage()
        results.costs_us[NAMES[name]] = {"all": usage.per_operation_us(count)["total"]}
        results.foreign_shares[NAMES[name]] = usage.foreign_share

    url = f"smtp://127.0.0.1:{box.smtp_port}"
    async with running(backing, smtp_url=url, console_base_url=CONSOLE, smtp_connections_max=CONNECTIONS) as service:
        tenant = await service.create_tenant()
        database = Database(service.settings.database_url, application_name="bench-mail", pool_size=1)
        mail.attach(database, mail.Mailer(create_encryptor(service.settings)))
        try:
            for _ in range(1 if quick else ROUNDS):
                await timed("bare", lambda: _bare(box.smtp_port, count))
                await _write_for_later(database, tenant.id, tenant.owner.subject_id, count)
                await timed("sent", lambda: _make_due(database))
        finally:
            await database.close()
    met = statistics.median(rates["sent"]) >= RATE_AIM
    ceiling = f"bare aiosmtplib, {CONNECTIONS} connections, one finished message"
    results.figures += [
        Figure(
            "mails, from their tasks to the mailbox",
            "/s",
            rates["sent"],
            rates["bare"],
            ceiling,
            f"≥ {RATE_AIM}/s",
            met,
        ),
        Figure("processor time of the sending process per mail", "µs", costs_us["sent"], costs_us["bare"], ceiling),
    ]
    return results


if __name__ == "__main__":
    # The loop on which services run.
    sys.exit(run("mail", "Mails per second of one replica.", measure, seconds_max=RUN_SECONDS_MAX, loop=uvloop.run))
