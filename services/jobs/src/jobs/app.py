"""Composition root: everything that the jobs service is made of."""

from functools import partial

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from jobs import jobs
from jobs.api import jobs as jobs_api
from jobs.config import Settings
from shared.auth.access import Access
from shared.errors import WaybillError
from shared.events import billing, identity
from shared.http.grouping import GroupCommit, Written
from shared.service import Service

DESCRIPTION = "Jobs and their actions. A merchant's key opens the routes that name `merchantPair`, on the merchant's own rows alone."


def create_app(settings: Settings) -> FastAPI:
    """The service in this process's roles."""
    service = Service("jobs", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    creations = GroupCommit(
        service.database, service.stored_answers, partial(_create, access=service.access), status_code=201
    )
    return service.app(routers=[jobs_api.router(creations)])


async def _create(session: AsyncSession, orders: list[jobs.Order], *, access: Access) -> list[Written | WaybillError]:
    return await jobs.create(session, access, orders)
