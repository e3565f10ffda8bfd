"""Looks at the pages of open checkout sessions, in any number of replicas."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from billing import checkout
from billing.checkout import CHECKOUT
from billing.providers import PaymentProvider, SetupOpen, SetupResult
from shared.postgres.database import Database
from shared.tasks import Again, Attempted, Task, TaskKind

AT_ONCE = 20

log = structlog.get_logger(__name__)


def task_kind(database: Database, provider: PaymentProvider | None) -> TaskKind:
    """The kind of task that does it."""

    async def look(task: Task) -> SetupResult:
        async with database.reading() as session:
            name, reference = await checkout.reference_of(session, task.key)
        if provider is None or provider.name != name:
            # It may be set up again before the page is given up.
            return SetupOpen()
        try:
            return await provider.look_up_setup(reference)
        except Exception as error:
            # The page is there all the same.
            log.warning("checkout_not_looked_up", provider=name, error=repr(error))
            return SetupOpen()

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again]:
        again: dict[UUID, Again] = {}
        for one in attempted:
            later = await checkout.record(session, one.task.key, one.outcome, datetime.now(UTC))
            if later is not None:
                again[one.task.id] = later
        return again

    return TaskKind(CHECKOUT, record=record, attempt=look, at_once=AT_ONCE)
