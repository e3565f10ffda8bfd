"""Requests, byte for byte: what is the same with every attempt at an endpoint is put together once."""

from collections.abc import Iterable

from webhooks.attempts import Message
from webhooks.domain.endpoints import Destination, destination, header_violations
from webhooks.domain.signatures import Signer
from webhooks.targets import Target
from webhooks.worker.answers import legible
from webhooks.worker.guard import NoConnection
from webhooks.worker.pool import Origin

USER_AGENT = "Waybill-Webhooks/1"
ROUTES_KEPT_MAX = 10_000


class Route:
    """The way to one endpoint in one version."""

    __slots__ = ("_confidential", "_head", "_last_body", "_last_legible", "_signer", "_target", "destination", "origin")

    def __init__(self, target: Target):
        """Raises `NoConnection` for a URL or headers that no endpoint may have."""
        found = destination(target.url)
        if found is None:
            raise NoConnection("blocked", "the URL may be understood in more ways than one")
        if any(header_violations(dict(target.headers))):
            raise NoConnection("blocked", "a custom header would change the request")
        self._target = target
        self.destination: Destination = found
        self.origin: Origin = (found.scheme, found.host, found.port)
        self._confidential = tuple(value for _, value in target.headers)
        self._head = _head(found, target.headers)
        self._signer = Signer(target.keys, target.signing_key)
        self._last_body = b""
        self._last_legible: str | None = None

    def leads_to(self, target: Target) -> bool:
        """Whether this is the way to this very version."""
        return self._target is target or self._target == target

    def request(self, message: Message, timestamp: int) -> bytes:
        """The whole signed request."""
        body = message.body
        signed = self._signer.sign(message.webhook_id, timestamp, body)
        trace = message.traceparent
        traced = f"traceparent: {trace}\r\n" if trace is not None and trace.isascii() and trace.isprintable() else ""
        head = (
            f"{traced}webhook-id: {message.webhook_id}\r\nwebhook-timestamp: {timestamp}\r\n"
            f"webhook-signature: {signed}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return b"".join((self._head, head.encode("ascii"), body))

    def legible(self, body: bytes) -> str | None:
        """What is kept of an answer, without what the endpoint's custom headers hold."""
        # Most receivers say the same every time.
        if body != self._last_body:
            self._last_legible = legible(body, self._confidential)
            self._last_body = body
        return self._last_legible


class Routes:
    """The ways to the endpoints that were sent to lately."""

    def __init__(self) -> None:
        self._routes: dict[object, Route] = {}

    def of(self, target: Target) -> Route:
        """The way to this endpoint. Raises `NoConnection`."""
        route = self._routes.get(target.endpoint_id)
        if route is None or not route.leads_to(target):
            if len(self._routes) >= ROUTES_KEPT_MAX:
                self._routes.clear()
            route = self._routes[target.endpoint_id] = Route(target)
        return route


def _head(found: Destination, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [
        f"POST {found.path} HTTP/1.1",
        f"Host: {found.authority}",
        *(f"{name}: {value}" for name, value in headers),
        "Content-Type: application/json",
        f"User-Agent: {USER_AGENT}",
        "Accept-Encoding: identity",
    ]
    return ("\r\n".join(lines) + "\r\n").encode("ascii")
