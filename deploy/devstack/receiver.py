"""The other end of a webhook, for the demo and for trying things out: a small real HTTP server on loopback.

It checks every signature with the public `standardwebhooks` library, which knows nothing of Waybill, and keeps what
came in memory up to a bound. It can misbehave on request, so that retries can be watched.
"""

import argparse
import asyncio
import binascii
import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

REQUESTS_KEPT_MAX = 2_000
BODY_BYTES_MAX = 1024 * 1024
KEPT_BYTES_MAX = 64 * 1024 * 1024
NAMES_MAX = 1_000
SECRETS_PER_NAME_MAX = 5
NAME_LENGTH_MAX = 100
DELAY_MS_MAX = 60_000
LIST_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it came: `verified` is None where no secret was registered for its name."""

    name: str
    received_at: str
    headers: dict[str, str]
    body: str
    body_bytes: int
    verified: bool | None
    reason: str | None
    answered_status: int


@dataclass
class Inbox:
    """Everything that the receiver remembers, oldest out first."""

    secrets: dict[str, list[str]] = field(default_factory=dict)
    requests: deque[Received] = field(default_factory=deque)
    kept_bytes: int = 0

    def keep(self, request: Received) -> None:
        """Add one request, and forget the oldest ones beyond the bounds."""
        self.requests.append(request)
        self.kept_bytes += request.body_bytes
        while len(self.requests) > REQUESTS_KEPT_MAX or self.kept_bytes > KEPT_BYTES_MAX:
            self.kept_bytes -= self.requests.popleft().body_bytes

    def clear(self) -> None:
        """Forget every request; secrets stay."""
        self.requests.clear()
        self.kept_bytes = 0


INBOX = web.AppKey("inbox", Inbox)


def create_receiver() -> web.Application:
    """The receiver as an application with an empty memory."""
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application[INBOX] = Inbox()
    application.add_routes(
        [
            web.post("/hooks/{name}", receive),
            web.put("/hooks/{name}/secret", register_secret),
            web.get("/received", list_received),
            web.delete("/received", clear_received),
        ]
    )
    return application


async def receive(request: web.Request) -> web.Response:
    """Verify and keep one delivery; answers 200, 401 where the signature is wrong, or the `status` asked for."""
    name = _name(request)
    status = _number(request, "status", minimum=200, maximum=599)
    delay_ms = _number(request, "delay_ms", minimum=0, maximum=DELAY_MS_MAX) or 0
    body = await request.read()
    inbox = request.app[INBOX]
    verified, reason = verify(inbox.secrets.get(name, []), body, dict(request.headers))
    answered_status = status or (401 if verified is False else 200)
    inbox.keep(
        Received(
            name=name,
            received_at=datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body.decode(errors="replace"),
            body_bytes=len(body),
            verified=verified,
            reason=reason,
            answered_status=answered_status,
        )
    )
    if delay_ms:
        await asyncio.sleep(delay_ms / 1000)
    if answered_status in (204, 304):
        return web.Response(status=answered_status)
    return web.json_response({"verified": verified, "reason": reason}, status=answered_status)


async def register_secret(request: web.Request) -> web.Response:
    """Remember the secret of an endpoint that delivers to this name; the last few stay valid, as in a rotation."""
    name = _name(request)
    try:
        secret = json.loads(await request.read())["secret"]
        Webhook(secret)
    except (ValueError, KeyError, TypeError, RuntimeError, binascii.Error, EmptyWebhookSecretError) as error:
        raise web.HTTPUnprocessableEntity(text='expected {"secret": "whsec_…"}\n') from error
    secrets = request.app[INBOX].secrets
    if name not in secrets and len(secrets) >= NAMES_MAX:
        raise web.HTTPConflict(text=f"at most {NAMES_MAX} names\n")
    known = secrets.setdefault(name, [])
    if secret not in known:
        known.append(secret)
        del known[:-SECRETS_PER_NAME_MAX]
    return web.Response(status=204)


async def list_received(request: web.Request) -> web.Response:
    """The newest requests, oldest of them first: of one `name` or all, at most `limit`."""
    name = request.query.get("name")
    limit = _number(request, "limit", minimum=1, maximum=LIST_MAX) or LIST_MAX
    found = [kept for kept in request.app[INBOX].requests if name in (None, kept.name)]
    return web.json_response({"object": "list", "count": len(found), "data": [_view(kept) for kept in found[-limit:]]})


async def clear_received(request: web.Request) -> web.Response:
    """Forget every request."""
    request.app[INBOX].clear()
    return web.Response(status=204)


def verify(secrets: list[str], body: bytes, headers: dict[str, str]) -> tuple[bool | None, str | None]:
    """Whether one of the secrets signed this body, and if none did, why not; None without any secret."""
    if not secrets:
        return None, "no secret is registered for this name"
    reason = ""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            reason = str(error)
        else:
            return True, None
    return False, reason


def _view(kept: Received) -> dict[str, object]:
    view: dict[str, object] = dict(vars(kept))
    try:
        view["json"] = json.loads(kept.body)
    except ValueError:
        view["json"] = None
    return view


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if len(name) > NAME_LENGTH_MAX:
        raise web.HTTPUnprocessableEntity(text=f"a name has at most {NAME_LENGTH_MAX} characters\n")
    return name


def _number(request: web.Request, parameter: str, *, minimum: int, maximum: int) -> int | None:
    told = request.query.get(parameter)
    if told is None:
        return None
    if not told.isdecimal() or not minimum <= int(told) <= maximum:
        raise web.HTTPUnprocessableEntity(text=f"{parameter} must be a number from {minimum} to {maximum}\n")
    return int(told)


def main() -> None:
    """Serve on loopback until SIGTERM."""
    parser = argparse.ArgumentParser(description="Receive, verify and list webhooks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    web.run_app(create_receiver(), host=arguments.host, port=arguments.port, print=None, shutdown_timeout=2.0)


if __name__ == "__main__":
    main()
