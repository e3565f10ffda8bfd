"""Finds the route of a request by its method and the shape of its path, where the router would try one route after the other.

Whatever is not found so (another method, a path without a route, the routes of health checks) goes to the router, which answers it.
"""

from collections import defaultdict
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.api.routes import GuardedRoute


def dispatching(routes: Iterable[GuardedRoute], router: ASGIApp) -> ASGIApp:
    """An app that gives a request to the first of these routes that has its method and path, and all others to `router`."""
    literal: dict[tuple[str, str], GuardedRoute] = {}
    with_parameters: dict[tuple[str, int], list[GuardedRoute]] = defaultdict(list)
    for route in routes:
        for method in route.methods or ():
            if route.param_convertors:
                with_parameters[method, route.path.count("/")].append(route)
            else:
                literal.setdefault((method, route.path), route)
    literal_paths = frozenset(path for _, path in literal)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        found, parameters = None, {}
        if scope["type"] == "http" and not scope.get("root_path"):
            method, path = scope["method"], scope["path"]
            found = literal.get((method, path))
            if found is None and path not in literal_paths:
                for route in with_parameters.get((method, path.count("/")), ()):
                    if (match := route.path_regex.match(path)) is not None:
                        found, parameters = route, match.groupdict()
                        break
        if found is None:
            await router(scope, receive, send)
            return
        scope["route"] = found
        scope["endpoint"] = found.endpoint
        scope["path_params"] = parameters
        await found.app(scope, receive, send)

    return dispatch
