"""Mails password resets that were asked for, in any number of replicas."""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from identity import password_resets
from identity.password_resets import RESET_REQUEST
from shared.crypto.encryptor import Encryptor
from shared.tasks import Again, Attempted, TaskKind


def task_kinds(encryptor: Encryptor) -> Sequence[TaskKind]:
    """What the worker of identity does for forgotten passwords."""
    return [TaskKind(RESET_REQUEST, record=partial(_mail, encryptor))]


async def _mail(encryptor: Encryptor, session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again]:
    # In one order of people, as all who lock several.
    for one in sorted(attempted, key=lambda one: one.task.key):
        await password_resets.mail_reset(session, encryptor, one.task)
    return {}
