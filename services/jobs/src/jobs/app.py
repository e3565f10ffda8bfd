"""Composition root: everything that the jobs service is made of."""

from functools import partial

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from jobs import filing, jobs, retention, rows
from jobs.api import actions as actions_api
from jobs.api import bulk as bulk_api
from jobs.api import customers as customers_api
from jobs.api import dispatch as dispatch_api
from jobs.api import imports as imports_api
from jobs.api import jobs as jobs_api
from jobs.api import reports as reports_api
from jobs.api import searches as searches_api
from jobs.config import Settings
from jobs.customers import CustomerIds
from jobs.exports import Exports
from jobs.worker import ImportWorker
from shared.access.authentication import Access
from shared.api.group_commit import GroupCommit, GroupRead, Written
from shared.chassis.parts import Part
from shared.errors import WaybillError
from shared.events import billing, identity
from shared.service.composition import Service

DESCRIPTION = "Jobs and their actions. A merchant's key opens the routes that name `merchantPair`, on the merchant's own rows alone."


def create_app(settings: Settings) -> FastAPI:
    """The service in this process's roles."""
    service = Service("jobs", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    creations = GroupCommit(
        service.database, service.response_encryptor, partial(_create, access=service.access), status_code=201
    )
    keep = retention.keeping(
        service.database, history_months=settings.history_months, deleted_days=settings.deleted_days
    )
    importing = ImportWorker(service.database, service.access, service.metrics)
    files = imports_api.router(
        service.database,
        service.access,
        service.response_encryptor,
        Exports(service.database, service.access, at_once_max=settings.exports_max),
        bytes_max=settings.import_bytes_max,
    )
    return service.app(
        routers=[
            # Before the routes of one job: `bulk` and `imports` are no ids.
            bulk_api.router(service.access, bytes_max=settings.bulk_bytes_max),
            files,
            jobs_api.router(creations, GroupRead(service.database, rows.shown), service.access),
            jobs_api.history_router(),
            dispatch_api.router(service.access),
            dispatch_api.ending_router(service.access),
            actions_api.router(service.access),
            searches_api.router(),
            customers_api.router(service.access, CustomerIds(settings.secret_bytes)),
            reports_api.router(),
        ],
        parts=[
            Part("imports", importing.run, role="worker"),
            Part("retention", keep, role="worker"),
            Part("filing", filing.filing(service.database), role="worker"),
        ],
    )


async def _create(session: AsyncSession, orders: list[jobs.Order], *, access: Access) -> list[Written | WaybillError]:
    return await jobs.create(session, access, orders)
