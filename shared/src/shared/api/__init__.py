"""The HTTP edge of every service: declared access, problem documents, idempotency, pagination, rate limits."""

from shared.api.answer_headers import add_answer_header
from shared.api.cursors import CursorsOfList, PageRequest, Paging
from shared.api.declarations import authenticated, merchant_only, owner_only, public, requires, session_only
from shared.api.dependencies import (
    CurrentActor,
    CurrentCaller,
    IdempotencyClaim,
    Reading,
    RequestOrigin,
    Searching,
    Transaction,
)
from shared.api.entity_tags import ANY_VERSION, IfMatch
from shared.api.file_intake import Upload
from shared.api.openapi import also_answers
from shared.api.pagination import Documents, Page, page, page_of, page_of_documents, where_equal
from shared.api.request_body import body, streams
from shared.api.routes import Router
from shared.api.schemas import Input, ListQuery, Secret, shown_as
from shared.api.transactions import Transactions

__all__ = [
    "ANY_VERSION",
    "CurrentActor",
    "CurrentCaller",
    "CursorsOfList",
    "Documents",
    "IdempotencyClaim",
    "IfMatch",
    "Input",
    "ListQuery",
    "Page",
    "PageRequest",
    "Paging",
    "Reading",
    "RequestOrigin",
    "Router",
    "Searching",
    "Secret",
    "Transaction",
    "Transactions",
    "Upload",
    "add_answer_header",
    "also_answers",
    "authenticated",
    "body",
    "merchant_only",
    "owner_only",
    "page",
    "page_of",
    "page_of_documents",
    "public",
    "requires",
    "session_only",
    "shown_as",
    "streams",
    "where_equal",
]
