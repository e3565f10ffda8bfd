"""The request log: requests with credentials, in all services. Failed ones each, all of them counted by the hour."""

from identity.request_log.operations import delete_older, store
from identity.request_log.queries import count_by_hour, counts_of, list_failed, most_calls
from identity.request_log.tables import FailedRequestRow, RequestCountRow

__all__ = [
    "FailedRequestRow",
    "RequestCountRow",
    "count_by_hour",
    "counts_of",
    "delete_older",
    "list_failed",
    "most_calls",
    "store",
]
