"""Revocations, and the receipts that say when each replica of each service began to refuse."""

from identity.revocations.operations import delete_old, id_for, store_own, store_reports
from identity.revocations.queries import get, get_lag
from identity.revocations.tables import AcknowledgementRow, ReplicaRow, RevocationRow

__all__ = [
    "AcknowledgementRow",
    "ReplicaRow",
    "RevocationRow",
    "delete_old",
    "get",
    "get_lag",
    "id_for",
    "store_own",
    "store_reports",
]
