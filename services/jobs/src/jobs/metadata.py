"""The metadata of all tables of jobs, for migrations."""

from jobs.bulk_commands.tables import JobCommandRow
from jobs.imports.tables import ImportErrorRow, ImportReferenceRow, ImportRow, PieceRow
from jobs.job_store.tables import ActionRow, HistoryRow, JobRow
from jobs.reference_data import TenantSettingsRow
from jobs.registry import Base
from shared.service.tables import add_base_tables

add_base_tables(Base.metadata)

__all__ = [
    "ActionRow",
    "Base",
    "HistoryRow",
    "ImportErrorRow",
    "ImportReferenceRow",
    "ImportRow",
    "JobCommandRow",
    "JobRow",
    "PieceRow",
    "TenantSettingsRow",
]
