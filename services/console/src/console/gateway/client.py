"""The one way from the console to the services: their public API over HTTP, with a deadline, a trace and a request id."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from console.gateway.problems import of_response, of_transport
from shared.observability import traces

CONNECTIONS_MAX = 1000
IDLE_CONNECTIONS_MAX = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered: `answer["name"]` is a member of its body."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """The version, to send back as `if_match`."""
        return self.headers.get("etag", "")

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    def get(self, name: str, otherwise: Any = None) -> Any:
        return self.body.get(name, otherwise)


@dataclass(frozen=True, slots=True)
class Origin:
    """For whom the console calls: services record and limit by it."""

    address: str
    user_agent: str
    request_id: str

    @property
    def headers(self) -> dict[str, str]:
        found = {"X-Request-Id": self.request_id, "User-Agent": self.user_agent}
        return {**found, "X-Forwarded-For": self.address} if self.address else found


class Gateway:
    """The services and their addresses."""

    def __init__(self, services: Mapping[str, str], *, seconds: float):
        self._services = {name: url.rstrip("/") for name, url in services.items()}
        self._seconds = seconds
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(seconds),
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=IDLE_CONNECTIONS_MAX),
        )

    def url(self, service: str) -> str:
        return self._services[service]

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        origin: Origin,
        token: str | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """One call; it is never repeated here. Raises `Problem`."""
        sent = {**origin.headers, **traces.inject(), **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = self._services[service] + path
        try:
            # The client's own limits are for each step; an answer that comes drop by drop has this one. A file takes its time.
            async with asyncio.timeout(self._seconds if content is None else None):
                response = await self._client.request(
                    method, url, params=asked(query), json=body, content=content, headers=sent
                )
        except (httpx.TransportError, TimeoutError) as error:
            raise of_transport(service, error, origin.request_id) from error
        if response.status_code >= 300 and response.status_code != 304:
            raise of_response(service, response)
        is_json = "json" in response.headers.get("content-type", "")
        return Answer(
            response.status_code,
            response.json() if is_json and response.content else response.content,
            response.headers,
        )

    def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        headers: Any,
        content: AsyncIterator[bytes] | None = None,
        silence_seconds: float,
    ) -> httpx.Request:
        """A request whose answer is read piece by piece (`send`), with so much silence between two pieces at most."""
        timeout = httpx.Timeout(silence_seconds, connect=self._seconds, pool=self._seconds)
        url = self._services[service] + path
        return self._client.build_request(method, url, headers=headers, content=content, timeout=timeout)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Its answer; whoever asks closes it. Raises `httpx.TransportError`."""
        return await self._client.send(request, stream=True)

    def stream(self, service: str, method: str, path: str, **options: Any) -> Any:
        """A call whose answer is read piece by piece, as `httpx.AsyncClient.stream`."""
        return self._client.stream(method, self._services[service] + path, **options)

    async def close(self) -> None:
        await self._client.aclose()


def asked(query: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in (query or {}).items() if value not in (None, "", [])}


def fill(template: str, names: Mapping[str, str]) -> str:
    """`/v1/jobs/{job_id}` with its ids, each as one segment whatever it contains."""
    return template.format_map({name: quote(value, safe="") or "-" for name, value in names.items()})
