"""The public HTTP edges, called as a stranger would call them: each call can be told as the `curl` that does the same.

Services learn from each other through events, so an answer that another service has just made true may still be on its
way. `settling` names the answers that mean "not yet": the call is repeated until it succeeds, within a bound.
"""

import base64
import json
import shlex
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import httpx

from deploy.devstack.failures import StackError
from deploy.devstack.settings import StackSettings

# What a service answers while it knows that it does not know enough yet; and while it does not even know that, about
# a tenant, a key, a person or a location made a moment ago.
NOT_READY_YET = frozenset({503})
NOT_YET_KNOWN = frozenset({401, 402, 403, 404, 422, 503})
SUBMITTED = (200, 303)
"""What a page answers when it has taken its form."""
SETTLE_TIMEOUT_SECONDS = 60.0
SETTLE_POLL_SECONDS = 0.02
CALL_TIMEOUT_SECONDS = 30.0
TOLD_ANSWER_LENGTH_MAX = 240

Json = dict[str, Any]


def platform(api_key: str, *, tenant_id: str | None = None) -> dict[str, str]:
    """The operator's headers, naming the tenant where one is meant."""
    return {"X-Api-Key": api_key, **({"X-Tenant-Id": tenant_id} if tenant_id else {})}


def bearer(session: Json) -> dict[str, str]:
    """The headers of a person who signed in."""
    return {"Authorization": f"Bearer {session['token']}"}


def basic(pair: Mapping[str, str]) -> dict[str, str]:
    """The headers of a merchant's system: API Account ID and API Auth Key."""
    credentials = f"{pair['api_account_id']}:{pair['api_auth_key']}"
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


class Edges:
    """The services and the receiver of one stack. Close it, or use it as a context."""

    def __init__(self, settings: StackSettings, say: Callable[[str], None] | None = None) -> None:
        """`say` gets every call as `curl` with its answer; without it the calls are silent."""
        self._settings = settings
        self._say = say or _keep_silent
        self._variables: dict[str, str] = {}
        # Never through a proxy that the environment names: this is loopback.
        self._client = httpx.Client(trust_env=False, timeout=CALL_TIMEOUT_SECONDS)

    def __enter__(self) -> "Edges":
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def name(self, variable: str, value: str) -> None:
        """From here on tell `value` as the shell variable `variable`, and tell how to set it."""
        self._say(f"  $ {variable}={shlex.quote(value)}")
        self._variables[value] = variable

    def call(
        self,
        method: str,
        service: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Json | None = None,
        expect: Collection[int] = (200, 201, 204),
        settling: Collection[int] = NOT_READY_YET,
        tell: bool = True,
    ) -> Json:
        """The JSON of the first answer with an expected status; StackError with what came instead."""
        url = self._settings.url(service) + path
        say = self._say if tell else _keep_silent
        say("  $ " + as_curl(method, url, headers or {}, body, self._variables))
        deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
        while True:
            try:
                answer = self._client.request(method, url, headers=headers, json=body)
            except httpx.HTTPError as error:
                raise StackError(f"{method} {url}: {type(error).__name__} {error}") from error
            if answer.status_code in expect:
                say("    " + _as_told(answer))
                return _json(answer)
            if answer.status_code not in settling or time.monotonic() >= deadline:
                raise StackError(f"expected {_statuses(expect)} from {method} {url}, got {_as_told(answer)}")
            time.sleep(SETTLE_POLL_SECONDS)

    def submit(self, url: str, fields: Mapping[str, str]) -> None:
        """Do what a person does on a page: look at it, and send its form. The page may send the person elsewhere, or nowhere."""
        words = [
            "curl",
            "-sS",
            shlex.quote(url),
            *(f"-d {shlex.quote(f'{name}={value}')}" for name, value in fields.items()),
        ]
        self._say("  $ " + " ".join(words))
        try:
            self._client.get(url).raise_for_status()
            answer = self._client.post(url, data=dict(fields))
        except httpx.HTTPError as error:
            raise StackError(f"{url}: {type(error).__name__} {error}") from error
        if answer.status_code not in SUBMITTED:
            raise StackError(f"the form of {url} was not taken: {_as_told(answer)}")
        self._say(f"    {answer.status_code} {answer.reason_phrase}")


def as_curl(method: str, url: str, headers: Mapping[str, str], body: Json | None, variables: Mapping[str, str]) -> str:
    """The command line that sends the same request; `variables` names values that are told as shell variables."""
    words = ["curl", "-sS", "-X", method, shlex.quote(url)]
    for name, value in headers.items():
        kind, _, credentials = value.partition(" ")
        if kind == "Basic":
            words += ["-u", _quote(base64.b64decode(credentials).decode(), variables)]
        else:
            words += ["-H", _quote(f"{name}: {value}", variables)]
    if body is not None:
        told = json.dumps(body, ensure_ascii=False)
        words += ["-H", shlex.quote("Content-Type: application/json"), "-d", shlex.quote(told)]
    return " ".join(words)


def _quote(text: str, variables: Mapping[str, str]) -> str:
    """One word of a command line, with the values of `variables` as references to them."""
    for value, variable in variables.items():
        if value in text:
            # None of our credentials has a character that means something between double quotes.
            return '"' + text.replace(value, f"${variable}") + '"'
    return shlex.quote(text)


def _keep_silent(_line: str) -> None:
    """For calls that nobody wants to read."""


def _json(answer: httpx.Response) -> Json:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _as_told(answer: httpx.Response) -> str:
    text = " ".join(answer.text.split())
    if len(text) > TOLD_ANSWER_LENGTH_MAX:
        text = text[:TOLD_ANSWER_LENGTH_MAX] + " …"
    return f"{answer.status_code} {answer.reason_phrase} {text}".rstrip()


def _statuses(expect: Collection[int]) -> str:
    return " or ".join(str(status) for status in expect)
