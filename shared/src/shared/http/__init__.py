"""The HTTP edge, the same for all services: declared access, problem documents, idempotency, lists, limits."""

from shared.http.lists import Page, PageRequest, Paging, page
from shared.http.routes import (
    CurrentCaller,
    IdempotencyClaim,
    IfMatch,
    Input,
    Reading,
    Router,
    Secret,
    Transaction,
    authenticated,
    merchant_only,
    public,
    requires,
    session_only,
)

__all__ = [
    "CurrentCaller",
    "IdempotencyClaim",
    "IfMatch",
    "Input",
    "Page",
    "PageRequest",
    "Paging",
    "Reading",
    "Router",
    "Secret",
    "Transaction",
    "authenticated",
    "merchant_only",
    "page",
    "public",
    "requires",
    "session_only",
]
