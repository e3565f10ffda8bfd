"""Who a request's deeds are attributed to."""

from typing import Annotated

from fastapi import Depends, Request

from identity.audit import Author, Origin
from shared.api import CurrentCaller


async def _origin(request: Request) -> Origin:
    address = request.client.host if request.client else ""
    return Origin(address=address, request_id=str(request.scope.get("waybill.request_id", "")))


RequestOrigin = Annotated[Origin, Depends(_origin)]
"""Where the request came from; all that is known of it on a public route."""


async def _author(caller: CurrentCaller, origin: RequestOrigin) -> Author:
    return Author(caller, origin)


CurrentAuthor = Annotated[Author, Depends(_author)]
"""The caller, and where the request came from."""
