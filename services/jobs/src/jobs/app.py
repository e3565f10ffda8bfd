"""Composition root: everything that the jobs service is made of."""

from fastapi import FastAPI

from jobs import job_store, jobs
from jobs.actions import routes as actions_routes
from jobs.bulk import routes as bulk_routes
from jobs.bulk.schemas import BulkMode
from jobs.bulk_commands import operations as bulk_commands_operations
from jobs.bulk_commands import routes as bulk_commands_routes
from jobs.bulk_commands.schemas import BulkJobCommand
from jobs.config import Settings
from jobs.customers import CustomerIds
from jobs.customers import routes as customers_routes
from jobs.exports import Exports
from jobs.exports import routes as exports_routes
from jobs.file_formats import Format, Separator
from jobs.history import routes as history_routes
from jobs.imports import routes as imports_routes
from jobs.imports.refused_rows import RefusedRows
from jobs.imports.schemas import ImportStatus
from jobs.imports.worker import SWEEP_SECONDS, ImportWorker
from jobs.job_store import ActionStatus, JobStatus, JobType
from jobs.jobs import routes as jobs_routes
from jobs.lifecycle import routes as lifecycle_routes
from jobs.notices import notices_of
from jobs.notices import routes as notices_routes
from jobs.reference_data.consumer import TENANT_EVENTS, on_tenant_events
from jobs.reports import routes as reports_routes
from jobs.reports.schemas import CountedBy
from jobs.retention import worker as retention_worker
from jobs.search import routes as search_routes
from jobs.search import worker as search_worker
from jobs.search.schemas import ActionSort, JobSort
from shared.api.exports import RunningExports
from shared.api.group_commit import GroupCommit
from shared.api.grouping import GroupRead
from shared.api.openapi import ApiDescription, read_glossary
from shared.bulk import PURGE_SECONDS, BulkStatus, BulkWorker
from shared.chassis.parts import Part, periodically
from shared.events import billing, identity
from shared.service.composition import Service

DESCRIPTION = ApiDescription(
    "Jobs and their actions. Routes with `merchantPair` accept the API credentials of a merchant, for its own rows.",
    tags={
        "jobs": "Jobs, one by one or many at once, and their history.",
        "actions": "The units of work inside a job.",
        "dispatch": "Commands of those who carry jobs out, and outcomes of actions.",
        "search": "Lists and searches of jobs and of actions.",
        "files": "Imports and exports of jobs.",
        "customers": "The contacts of jobs, and the erasure of their personal data.",
        "reports": "Numbers of jobs.",
        "notices": "Which records change, as they do, for pages that stay up to date.",
    },
    enums={
        "JobType": JobType,
        "JobStatus": JobStatus,
        "ActionStatus": ActionStatus,
        "JobSort": JobSort,
        "ActionSort": ActionSort,
        "FileFormat": Format,
        "Separator": Separator,
        "ImportStatus": ImportStatus,
        "BulkMode": BulkMode,
        "BulkJobCommand": BulkJobCommand,
        "BulkStatus": BulkStatus,
        "CountedBy": CountedBy,
    },
    glossary=read_glossary("jobs"),
)


def create_app(settings: Settings) -> FastAPI:
    """The service, with the roles of this process."""
    service = Service(
        "jobs", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC), notices_of=notices_of
    )
    creations = GroupCommit(
        service.database, service.response_encryptor, service.access.recheck_all, jobs.create, status_code=201
    )
    keep = retention_worker.retaining(
        service.database, history_months=settings.history_months, deleted_days=settings.deleted_days
    )
    commanding = BulkWorker(service.database, service.access, bulk_commands_operations.BULK)
    importing = ImportWorker(service.database, service.access, service.metrics)
    running_exports = RunningExports(at_once_max=settings.exports_max, per_tenant_max=settings.exports_per_tenant_max)
    exports = Exports(service.database, service.access, running_exports)
    refused_rows = RefusedRows(service.database, service.access, running_exports)
    service.subscribe(topic=identity.TOPIC, group="jobs.tenants", read=TENANT_EVENTS.read, handle=on_tenant_events)
    return service.app(
        routers=[
            # Before the routes of one job: `bulk` must not be read as a job id.
            bulk_routes.router(bytes_max=settings.bulk_bytes_max),
            bulk_commands_routes.router(),
            imports_routes.router(service.database, bytes_max=settings.import_bytes_max),
            imports_routes.correction_router(refused_rows),
            exports_routes.router(exports),
            jobs_routes.router(creations, GroupRead(service.database, job_store.get_jobs)),
            history_routes.router(),
            lifecycle_routes.router(),
            lifecycle_routes.completion_router(),
            actions_routes.router(),
            search_routes.router(),
            customers_routes.router(CustomerIds(settings.secret_bytes)),
            reports_routes.router(),
            notices_routes.router(service.streams),
        ],
        parts=[
            service.tasks([importing.task_kind(), commanding.task_kind()]),
            Part("bulk command purge", periodically(commanding.purge, PURGE_SECONDS), role="worker"),
            Part("import sweep", periodically(importing.sweep, SWEEP_SECONDS), role="worker"),
            Part("retention", keep, role="worker"),
            Part("reindexing", search_worker.reindexing(service.database), role="worker"),
        ],
    )
