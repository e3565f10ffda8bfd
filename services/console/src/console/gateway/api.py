"""The API as the person of one visit: every call is one that the page declares, and is kept for the page's API drawer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from console.gateway.client import Answer, Gateway, Origin, asked, fill
from console.gateway.problems import Problem, Unauthorized, of_response, of_transport


class CallUndeclared(Exception):
    """A page calls a route that its declaration does not name."""


Renew = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a page made."""

    service: str
    method: str
    path: str
    query: Mapping[str, Any]
    body: Any
    status: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page: an answer, or the problem for which it is missing while the rest of the page works."""

    answer: Answer | None
    problem: Problem | None

    def __getitem__(self, name: str) -> Any:
        assert self.answer is not None
        return self.answer[name]


class Api:
    """The four services, called with one person's session: `await api.jobs.get("/v1/jobs/{job_id}", job_id=…)`."""

    def __init__(
        self,
        gateway: Gateway,
        origin: Origin,
        *,
        token: str | None,
        declared: Collection[str],
        renew: Renew | None = None,
    ):
        """`renew` gets another token in place of one that is refused: identity revokes tokens when one of a person's sessions ends."""
        self.renew = renew
        self.gateway = gateway
        self.origin = origin
        self.token = token
        self.platform_key: str | None = None
        """The key with which an operator calls, instead of a token."""
        self.tenant_id: str | None = None
        """The tenant in which an operator acts."""
        self.declared = declared
        self.calls: list[Call] = []
        self.identity = Service(self, "identity")
        self.billing = Service(self, "billing")
        self.jobs = Service(self, "jobs")
        self.webhooks = Service(self, "webhooks")

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that say who calls, and in which tenant."""
        given = {
            "Authorization": self.token and f"Bearer {self.token}",
            "X-Api-Key": self.platform_key,
            "X-Tenant-Id": self.tenant_id,
        }
        return {name: value for name, value in given.items() if value}

    @asynccontextmanager
    async def stream(self, service: str, path: str, *, seconds: float, **options: Any) -> AsyncIterator[httpx.Response]:
        """GET, with an answer that is read piece by piece; `path` has no ids to fill in, or `ids` fill them. Raises `Problem`."""
        if f"{service} GET {path}" not in self.declared:
            raise CallUndeclared(f"add {service} GET {path} to the calls of the page")
        address = fill(path, options.get("ids") or {})
        query = asked(options.get("query"))
        sent = {**self.origin.headers, **self.credentials, **(options.get("headers") or {})}
        opened = self.gateway.stream(
            service, "GET", address, params=query, headers=sent, timeout=httpx.Timeout(seconds)
        )
        try:
            async with opened as response:
                self.calls.append(Call(service, "GET", address, query, None, response.status_code))
                if response.status_code >= 300:
                    await response.aread()
                    raise of_response(service, response)
                yield response
        except httpx.TransportError as error:
            raise of_transport(service, error, self.origin.request_id) from error

    async def part(self, call: Awaitable[Answer]) -> Part:
        """A call without which the page still makes sense. Raises `Unauthorized` alone."""
        try:
            return Part(await call, None)
        except Unauthorized:
            raise
        except Problem as problem:
            return Part(None, problem)

    async def parts(self, **calls: Awaitable[Answer]) -> dict[str, Part]:
        """The same for several calls, side by side."""
        found = await asyncio.gather(*(self.part(call) for call in calls.values()), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return dict(zip(calls, (one for one in found if isinstance(one, Part)), strict=True))


class Service:
    """One service for this visit. Names in a path are filled in from keywords; `query` leaves out what is None or empty."""

    def __init__(self, api: Api, name: str):
        self._api = api
        self._name = name

    async def get(
        self, path: str, *, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None, **ids: str
    ) -> Answer:
        return await self._call("GET", path, ids, query=query, headers=headers)

    async def post(
        self,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        **ids: str,
    ) -> Answer:
        return await self._call("POST", path, ids, query=query, body=body, headers=_headers(if_match, idempotency_key))

    async def upload(
        self,
        path: str,
        content: bytes | AsyncIterator[bytes],
        *,
        media_type: str,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """POST with a file as the body."""
        headers = {**_headers(None, idempotency_key), "Content-Type": media_type}
        return await self._call("POST", path, {}, query=query, content=content, headers=headers)

    async def put(self, path: str, body: Any, *, if_match: str | None = None, **ids: str) -> Answer:
        return await self._call("PUT", path, ids, body=body, headers=_headers(if_match))

    async def patch(self, path: str, body: Any, *, if_match: str | None = None, **ids: str) -> Answer:
        """A JSON Merge Patch."""
        return await self._call("PATCH", path, ids, body=body, headers=_headers(if_match))

    async def delete(self, path: str, *, if_match: str | None = None, **ids: str) -> Answer:
        return await self._call("DELETE", path, ids, headers=_headers(if_match))

    async def _call(
        self,
        method: str,
        template: str,
        ids: Mapping[str, str],
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        api = self._api
        if f"{self._name} {method} {template}" not in api.declared:
            raise CallUndeclared(f"add {self._name} {method} {template} to the calls of the page")
        path = fill(template, ids)
        status = 0

        async def call() -> Answer:
            return await api.gateway.call(
                self._name,
                method,
                path,
                origin=api.origin,
                query=query,
                body=body,
                content=content,
                headers={**api.credentials, **(headers or {})},
            )

        try:
            answer = await self._with_a_token_that_counts(call)
            status = answer.status
        except Problem as problem:
            status = problem.status
            raise
        finally:
            api.calls.append(Call(self._name, method, path, asked(query), body, status))
        return answer

    async def _with_a_token_that_counts(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """A call that is refused for its token has done nothing: it is made again with the next one."""
        api = self._api
        token = api.token
        try:
            return await call()
        except Unauthorized:
            if api.renew is None or token is None:
                raise
            api.token = await api.renew(token)
            return await call()


def _headers(if_match: str | None = None, idempotency_key: str | None = None) -> dict[str, str]:
    given = {"If-Match": if_match, "Idempotency-Key": idempotency_key}
    return {name: value for name, value in given.items() if value}
