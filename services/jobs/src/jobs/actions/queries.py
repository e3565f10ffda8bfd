"""List the actions of a job, and get one."""

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.job_store import Action, ActionRow, action_not_found, require_job, view_action, visible_actions_to
from shared.access.principals import Caller
from shared.api import Page, Paging, page


async def list_actions(session: AsyncSession, caller: Caller, job_id: str, paging: Paging) -> Page[Action]:
    """A page of the job's actions, in the order of their positions. Raises `NotFound`."""
    await require_job(session, caller, job_id)
    return await page(
        session,
        visible_actions_to(caller).where(col(ActionRow.job_id) == job_id),
        paging,
        by=(col(ActionRow.position), col(ActionRow.id)),
        view=view_action,
        descending=False,
    )


async def get(session: AsyncSession, caller: Caller, job_id: str, action_id: str) -> Action:
    """One action of the job. Raises `NotFound`."""
    row = await find(session, caller, job_id, action_id)
    if row is None:
        await require_job(session, caller, job_id)
        raise action_not_found()
    return view_action(row)


async def find(
    session: AsyncSession, caller: Caller, job_id: str, action_id: str, *, deleted: bool = False
) -> ActionRow | None:
    wanted = visible_actions_to(caller, deleted=deleted)
    wanted = wanted.where(col(ActionRow.id) == action_id, col(ActionRow.job_id) == job_id)
    return (await session.execute(wanted)).scalar_one_or_none()
