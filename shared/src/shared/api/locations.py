"""Where a record is that a route has made: the `Location` of its answer.

It follows from the routes: `POST /v1/jobs` makes what `GET /v1/jobs/{job_id}` reads, and so does a command on a record whose status is 201
or 202.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from shared.api.routes import GuardedRoute

MADE = (201, 202)
_ID = re.compile(rb'"id":"([a-z]+_[0-9a-z]+)"')
_BEGINNING_BYTES = 200
"""Where an answer has its id: after its `object`."""
_LAST_PARAMETER = re.compile(r"/{[^{}/]+}$")
_COMMAND = re.compile(r"/{[^{}/]+}/[^{}/]+$")


def assign(routes: Iterable[Any]) -> None:
    """Tell the routes that make records where these are read."""
    guarded: list[GuardedRoute] = [route for route in routes if hasattr(route, "location")]
    lists = {
        _LAST_PARAMETER.sub("", route.path)
        for route in guarded
        if "GET" in (route.methods or ()) and _LAST_PARAMETER.search(route.path)
    }
    for route in guarded:
        if "POST" in (route.methods or ()) and route.status_code in MADE:
            here = next((path for path in (route.path, _COMMAND.sub("", route.path)) if path in lists), None)
            route.location = here


def location_of(path: str, request: Request, response: Response) -> str | None:
    """The path of the record in the answer; None unless the answer shows one that was made."""
    if response.status_code not in MADE:
        return None
    found = _ID.search(bytes(response.body[:_BEGINNING_BYTES]))
    return f"{path.format(**request.path_params)}/{found[1].decode()}" if found else None
