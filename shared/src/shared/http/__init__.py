"""The HTTP edge, the same for all services: declared access, problem documents, idempotency, lists, limits."""

from shared.http.bodies import body, streams
from shared.http.lists import CursorsOfList, EachOf, Lastly, Page, PageRequest, Paging, page
from shared.http.routes import (
    CurrentCaller,
    IdempotencyClaim,
    IfMatch,
    Input,
    Reading,
    Router,
    Searching,
    Secret,
    Transaction,
    authenticated,
    merchant_only,
    public,
    requires,
    session_only,
)
from shared.http.uploads import Upload

__all__ = [
    "CurrentCaller",
    "CursorsOfList",
    "EachOf",
    "IdempotencyClaim",
    "IfMatch",
    "Input",
    "Lastly",
    "Page",
    "PageRequest",
    "Paging",
    "Reading",
    "Router",
    "Searching",
    "Secret",
    "Transaction",
    "Upload",
    "authenticated",
    "body",
    "merchant_only",
    "page",
    "public",
    "requires",
    "session_only",
    "streams",
]
