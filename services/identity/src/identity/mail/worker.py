"""Sends mails, in any number of replicas: the tasks that `mail.send` has written.

A mail is rendered and handed over without a transaction, and repeated with the same Message-Id when its worker died before the record.
What a server will never take is recorded on the person, and not repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog
from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncSession

from identity import mail, merchants, tenants, users
from identity.mail.connections import MailConnections, MailRefused
from identity.mail.operations import open_task
from identity.mail.rendering import AddressUnusable, Layouts, Words
from identity.mail.rules import NOTICE, PROMPT, is_outdated
from shared.chassis.parts import periodically
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import Again, Attempted, Task, TaskKind

ATTEMPTS_MAX = 300
"""With the delays between them, a little more than two days."""
ATTEMPT_SECONDS = 120.0
"""With the wait for a free connection."""
WAITING_PER_CONNECTION = 4
"""Mails that a process holds for each connection, so that none is idle while the next mail is read."""
TENANTS_CACHED_MAX = 1_000
TENANTS_CACHED_SECONDS = 60.0
CLOSE_IDLE_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a mail: `refusal` is the answer of a server that will never take it."""

    recipient_id: str
    email: str
    refusal: str | None = None


class MailSender:
    """Sends the mails of one process."""

    def __init__(
        self,
        database: Database,
        mailer: mail.Mailer,
        layouts: Layouts,
        connections: MailConnections,
        metrics: Metrics,
        *,
        language: str,
        console_base_url: str,
    ):
        self._database = database
        self._mailer = mailer
        self._layouts = layouts
        self._connections = connections
        self._language = language
        self._console_base_url = console_base_url
        self._tenants: TTLCache[str, tenants.MailSettings] = TTLCache(TENANTS_CACHED_MAX, TENANTS_CACHED_SECONDS)
        self._mails = metrics.counter(
            "waybill_mails_total",
            "Mails: sent, refused (for good), given_up (after two days), outdated (too late), unwanted (switched off).",
            ("kind", "result"),
        )

    def task_kinds(self, *, connections_max: int) -> Sequence[TaskKind]:
        """What the worker works on. Notices never take more than half of the connections."""
        kind = partial(
            TaskKind,
            record=_record,
            attempt=self._send,
            give_up=self._give_up,
            attempt_seconds=ATTEMPT_SECONDS,
            attempts_max=ATTEMPTS_MAX,
        )
        waiting_max = connections_max * WAITING_PER_CONNECTION
        return [kind(PROMPT, at_once=waiting_max), kind(NOTICE, at_once=max(1, connections_max // 2))]

    async def run(self) -> None:
        """Close connections that nobody uses, until cancelled; then all."""
        try:
            await periodically(self._connections.close_idle, CLOSE_IDLE_SECONDS)()
        finally:
            await self._connections.close_idle(older_than_seconds=0)

    async def _send(self, task: Task) -> Sent | None:
        mail_id, to, said = open_task(self._mailer, task)
        now = datetime.now(UTC)
        if is_outdated(said.useless_after, now):
            self._mails.labels(said.kind, "outdated").inc()
            log.info("mail_outdated", kind=said.kind, recipient=to.id)
            return None
        tenant = await self._tenant(to.tenant_id)
        if not tenant.wants(said.kind):
            self._mails.labels(said.kind, "unwanted").inc()
            return None
        words = Words(to.language or self._language, tenant.time_zone, self._console_base_url)
        try:
            address, message = self._layouts.lay_out(
                mail_id, to, said.content(words, tenant.name), words, tenant=tenant.name, now=now
            )
            await self._connections.send(sender=self._layouts.sender.addr_spec, recipient=address, message=message)
        except (MailRefused, AddressUnusable) as error:
            self._mails.labels(said.kind, "refused").inc()
            log.warning("mail_refused", kind=said.kind, recipient=to.id, mail_id=mail_id, answer=str(error))
            return Sent(to.id, to.email, refusal=str(error))
        self._mails.labels(said.kind, "sent").inc()
        log.info("mail_sent", kind=said.kind, recipient=to.id, mail_id=mail_id)
        return Sent(to.id, to.email)

    async def _give_up(self, session: AsyncSession, task: Task, reason: str) -> None:
        """No server has taken it for two days: for its person that is a refusal."""
        _, to, said = open_task(self._mailer, task)
        self._mails.labels(said.kind, "given_up").inc()
        await _note(session, [Sent(to.id, to.email, refusal=reason)])

    async def _tenant(self, tenant_id: str) -> tenants.MailSettings:
        """What mails need of a tenant, as it was within a minute."""
        if tenant_id not in self._tenants:
            async with self._database.reading() as session:
                self._tenants[tenant_id] = await tenants.get_mail_settings(session, tenant_id)
        return self._tenants[tenant_id]


async def _note(session: AsyncSession, sent: Sequence[Sent]) -> None:
    """Note on the people whose mail was taken or refused what has changed about that."""
    answers = {(one.recipient_id, one.email): one.refusal for one in sent}
    await users.note_mail(session, answers)
    await merchants.note_mail(session, answers)


async def _record(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again]:
    """None is due again: an attempt that may succeed later has failed, and its task says so."""
    await _note(session, [one.outcome for one in attempted if one.outcome is not None])
    return {}
