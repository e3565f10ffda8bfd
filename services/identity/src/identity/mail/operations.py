"""Writes mails: each is one task, in the transaction of what it tells of."""

import base64
import json
from dataclasses import asdict, dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from identity.mail import business_kinds, kinds
from identity.mail.kinds import Mail, WithToken
from identity.mail.rules import task_key, task_kind
from identity.mail.schemas import Recipient
from shared import tasks
from shared.crypto.encryptor import Encryptor
from shared.postgres.database import Database
from shared.tasks import NewTask, Task

_MAILER = "mailer"
_KINDS = {mail.kind: mail for mail in (*kinds.ALL, *business_kinds.ALL)}


@dataclass(frozen=True, slots=True)
class Mailer:
    """What mails are written with: what they say is encrypted until they are sent."""

    encryptor: Encryptor


def attach(database: Database, mailer: Mailer) -> None:
    """Let `send` write mails in every transaction of this database. Where nothing is attached, mail is off."""
    database.session_info[_MAILER] = mailer


def is_on(session: AsyncSession) -> bool:
    """Whether mail is sent at all."""
    return _MAILER in session.info


async def send(session: AsyncSession, to: Recipient, mail: Mail) -> bool:
    """Send this mail if the transaction commits. False where mail is off (no SMTP server is configured): nothing is written.

    `mail` is one of the kinds in `identity.mail.kinds`: `mail.Invitation(token=…, …)`. A kind that carries a token replaces what waits of
    that kind for the same person, so that of two tokens only the living one arrives. Call it when the rows of the change are locked.
    """
    mailer: Mailer | None = session.info.get(_MAILER)
    if mailer is None:
        return False
    mail_id = str(uuid4())
    said = json.dumps({"to": asdict(to), "mail": mail.model_dump(mode="json")}).encode()
    payload = {
        "mail": mail.kind,
        "mail_id": mail_id,
        "sealed": base64.b64encode(mailer.encryptor.encrypt(said, associated_data=mail_id)).decode(),
    }
    key = task_key(mail.kind, to.id, mail_id, replaces=mail.replaces)
    await tasks.schedule(session, [NewTask(task_kind(awaited=mail.awaited), key, payload=payload)])
    return True


async def cancel(session: AsyncSession, mail: type[WithToken], recipient_id: str) -> None:
    """Take back what waits of a kind that carries a token, because the token is dead."""
    key = task_key(mail.kind, recipient_id, "", replaces=True)
    await tasks.cancel(session, task_kind(awaited=mail.awaited), [key])


def open_task(mailer: Mailer, task: Task) -> tuple[str, Recipient, Mail]:
    """The id of a mail, its recipient, and what it says. Raises `DecryptionFailed`."""
    mail_id = str(task.payload["mail_id"])
    said = json.loads(mailer.encryptor.decrypt(base64.b64decode(task.payload["sealed"]), associated_data=mail_id))
    return mail_id, Recipient(**said["to"]), _KINDS[task.payload["mail"]].model_validate(said["mail"])
