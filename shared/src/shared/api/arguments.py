"""The arguments of a handler, from a request: how they are found is decided once per route, where FastAPI decides it on each request.

`plan` knows what handlers of this suite ask for: path and query parameters, models of query parameters, headers, a JSON body, and
dependencies that are coroutines. What it does not know, and whatever is missing or invalid in a request, is left to FastAPI, so that
there is one way in which requests are refused.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fastapi import Request, params
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from pydantic import BaseModel
from starlette.datastructures import QueryParams

Arguments = Callable[[Request, bytes], Awaitable[dict[str, Any] | None]]
"""Makes the arguments of one request, whose JSON has been read; None: FastAPI has to make them, or to refuse the request."""

_IMMUTABLE = (str, int, float, bool, type(None))


class _Unknown(Exception):
    """The route asks for something that `plan` does not know."""


class _Refused(Exception):
    """The request has something else than the route asks for."""


def plan(dependant: Dependant, *, body_is_embedded: bool) -> Arguments | None:
    """How the arguments of a route are made; None for a route that asks for more than is known here."""
    try:
        steps: list[_Step] = []
        handler = _step(dependant, steps)
        body = _body_field(dependant, body_is_embedded)
    except _Unknown:
        return None

    async def arguments(request: Request, content: bytes) -> dict[str, Any] | None:
        made: list[Any] = []
        try:
            for step in steps:
                made.append(await step.call(**step.arguments(request, made)))
            found = handler.arguments(request, made)
            if body is not None:
                found[body.name] = _valid(body, request._json) if content else _default(body)
        except _Refused:
            return None
        return found

    return arguments


@dataclass(frozen=True, slots=True)
class _Step:
    """A handler, or one of its dependencies."""

    call: Callable[..., Any]
    before: Sequence[tuple[str, int]]
    """Names of arguments, each with the place of the dependency that makes it."""
    request_names: Sequence[str]
    in_path: Sequence[ModelField]
    in_query: Sequence[Callable[[QueryParams, dict[str, Any]], None]]
    in_headers: Sequence[ModelField]

    def arguments(self, request: Request, made: Sequence[Any]) -> dict[str, Any]:
        """Raises `_Refused`."""
        found = {name: made[place] for name, place in self.before}
        for field in self.in_path:
            found[field.name] = _valid(field, request.path_params[field.alias])
        if self.in_query:
            given = request.query_params
            for take in self.in_query:
                take(given, found)
        if self.in_headers:
            values, errors = request_params_to_args(self.in_headers, request.headers)
            if errors:
                raise _Refused
            found |= values
        for name in self.request_names:
            found[name] = request
        return found


def _step(dependant: Dependant, steps: list[_Step]) -> _Step:
    """Adds the dependencies that are not among `steps` yet, those first that others need. Raises `_Unknown`."""
    before = []
    for one in dependant.dependencies:
        place = next((place for place, step in enumerate(steps) if step.call is one.call), None)
        if place is None:
            steps.append(_step(one, steps))
            place = len(steps) - 1
        if not one.use_cache or one.body_params:
            raise _Unknown
        if one.name is not None:
            before.append((one.name, place))
    if (
        dependant.call is None
        or not inspect.iscoroutinefunction(dependant.call)
        or dependant.cookie_params
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.websocket_param_name
        or dependant.concurrency is not None
    ):
        raise _Unknown
    names = (dependant.request_param_name, dependant.http_connection_param_name)
    return _Step(
        dependant.call,
        before,
        [name for name in names if name],
        dependant.path_params,
        [_query_parameter(field) for field in dependant.query_params],
        dependant.header_params,
    )


def _query_parameter(field: ModelField) -> Callable[[QueryParams, dict[str, Any]], None]:
    annotation = field.field_info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _query_model(field, annotation)
    is_list, alias = field_annotation_is_sequence(annotation), field.alias

    def take(given: QueryParams, found: dict[str, Any]) -> None:
        if alias in given:
            found[field.name] = _valid(field, given.getlist(alias) if is_list else given[alias])
        else:
            found[field.name] = _default(field)

    return take


def _query_model(field: ModelField, model: type[BaseModel]) -> Callable[[QueryParams, dict[str, Any]], None]:
    if any(one.alias or one.validation_alias for one in model.model_fields.values()):
        raise _Unknown
    is_list: Mapping[str, bool] = {
        name: field_annotation_is_sequence(one.annotation) for name, one in model.model_fields.items()
    }

    def take(given: QueryParams, found: dict[str, Any]) -> None:
        values: dict[str, Any] = {}
        for name in given:
            listed = given.getlist(name)
            # Of a parameter that has one value the last one counts; the model refuses what it does not know.
            several = is_list.get(name, len(listed) > 1)
            values[name] = listed if several else listed[-1]
        found[field.name] = _valid(field, values)

    return take


def _body_field(dependant: Dependant, is_embedded: bool) -> ModelField | None:
    if not dependant.body_params:
        return None
    (field, *others) = dependant.body_params
    if others or is_embedded or isinstance(field.field_info, params.Form):
        raise _Unknown
    return field


def _valid(field: ModelField, value: Any) -> Any:
    made, errors = field.validate(value)
    if errors:
        raise _Refused
    return made


def _default(field: ModelField) -> Any:
    if field.field_info.is_required() or field.field_info.validate_default:
        raise _Refused
    return field.default if isinstance(field.default, _IMMUTABLE) else deepcopy(field.default)
