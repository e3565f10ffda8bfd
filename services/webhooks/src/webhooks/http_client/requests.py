"""Messages, delivery targets and the bytes of requests. What is the same in all requests to an endpoint is built once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from webhooks.http_client.connection_pool import Origin
from webhooks.http_client.egress_guard import NotConnected
from webhooks.http_client.responses import legible
from webhooks.http_client.rules import Destination, header_violations, parse_destination
from webhooks.signatures import Signer


# Not frozen, because one is made for each event: a frozen one takes three times as long.
@dataclass(slots=True)
class Message:
    """An event as it is sent. `webhook_id` and `body` are the same in every attempt."""

    webhook_id: str
    body: bytes
    traceparent: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Where an endpoint is sent to and how requests are signed. Without `keys` the secret could not be decrypted, and nothing is sent."""

    endpoint_id: UUID
    version: int
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    """One secret, or two during a rotation, the newer first."""
    signing_key: Ed25519PrivateKey | None = field(default=None, repr=False)
    """The key for `v1a`, if requests are signed with it."""
    rate_limit_per_second: float | None = None
    ordered_by_job: bool = False
    retry_schedule: tuple[float, ...] | None = None
    """Seconds between attempts; None: the operator's schedule."""
    tenant_id: UUID | None = None


HIDDEN = "[hidden]"
USER_AGENT = "Waybill-Webhooks/1"
TEMPLATES_KEPT_MAX = 10_000


class RequestTemplate:
    """What is the same in all requests to one version of an endpoint."""

    __slots__ = ("_confidential", "_head", "_last_body", "_last_legible", "_signer", "_target", "destination", "origin")

    def __init__(self, target: DeliveryTarget):
        """Raises `NotConnected` for a URL or headers that no endpoint may have."""
        found = parse_destination(target.url)
        if found is None:
            raise NotConnected("blocked", "the URL may be understood in more ways than one")
        if any(header_violations(dict(target.headers))):
            raise NotConnected("blocked", "a custom header would change the request")
        self._target = target
        self.destination: Destination = found
        self.origin: Origin = (found.scheme, found.host, found.port)
        self._confidential = tuple(value for _, value in target.headers)
        self._head = _head(found, target.headers)
        self._signer = Signer(target.keys, target.signing_key)
        self._last_body = b""
        self._last_legible: str | None = None

    def is_for(self, target: DeliveryTarget) -> bool:
        """True if this template was made for this version of the endpoint."""
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
        """A response body as it is stored, without the values of the endpoint's custom headers."""
        # Most receivers send the same body every time.
        if body != self._last_body:
            self._last_legible = legible(body, self._confidential)
            self._last_body = body
        return self._last_legible


def show_request(url: str, headers: Mapping[str, str], message: Message, timestamp: int) -> dict[str, str]:
    """The headers of the request that was sent at this time, in their order, with `HIDDEN` for signatures and custom values.

    Raises `NotConnected` for a URL or headers that no endpoint may have.
    """
    custom = tuple((name, HIDDEN) for name in headers)
    template = RequestTemplate(DeliveryTarget(UUID(int=0), 0, url, custom, keys=()))
    head, _, _ = template.request(message, timestamp).partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")[1:]
    shown = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {**shown, "webhook-signature": HIDDEN}


class RequestTemplates:
    """The templates of endpoints that were sent to lately."""

    def __init__(self) -> None:
        self._templates: dict[object, RequestTemplate] = {}

    def of(self, target: DeliveryTarget) -> RequestTemplate:
        """The template of an endpoint. Raises `NotConnected`."""
        template = self._templates.get(target.endpoint_id)
        if template is None or not template.is_for(target):
            if len(self._templates) >= TEMPLATES_KEPT_MAX:
                self._templates.clear()
            template = self._templates[target.endpoint_id] = RequestTemplate(target)
        return template


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
