"""A page's calls of the API as curl, Python and TypeScript: ids are filled in, secrets are variables."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from console.gateway import Call

SECRET_FIELDS = frozenset({"password", "current_password", "new_password", "code", "token", "secret"})
TOKEN_VARIABLE = "WAYBILL_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class Example:
    """One call, in the languages that most callers write."""

    title: str
    curl: str
    python: str
    typescript: str


def examples_of(calls: Sequence[Call], base_url: str) -> list[Example]:
    """One for each call that is not the same as one before it."""
    found = {}
    for call in calls:
        example = _example(call, base_url)
        found[example.curl] = example
    return list(found.values())


def _example(call: Call, base_url: str) -> Example:
    query = urlencode(call.query, doseq=True)
    url = f"{base_url}{call.path}" + (f"?{query}" if query else "")
    body = "" if call.body is None else json.dumps(_without_secrets(call.body), indent=2, ensure_ascii=False)
    sent = (call.method, url, body)
    return Example(f"{call.method} {call.path}", _curl(*sent), _python(*sent), _typescript(*sent))


def _curl(method: str, url: str, body: str) -> str:
    lines = ["curl" + ("" if method == "GET" else f" --request {method}") + f" {shlex.quote(url)}"]
    lines.append(f'--header "Authorization: Bearer ${TOKEN_VARIABLE}"')
    if body:
        lines += ["--header 'Content-Type: application/json'", f"--data {shlex.quote(body)}"]
    return " \\\n  ".join(lines)


def _python(method: str, url: str, body: str) -> str:
    shown = body.replace("null", "None").replace(": true", ": True").replace(": false", ": False")
    more = f"\n    json={shown}," if body else ""
    return (
        "import os\n\nimport httpx\n\n"
        f"answer = httpx.request(\n    {json.dumps(method)},\n    {json.dumps(url)},\n"
        f'    headers={{"Authorization": f"Bearer {{os.environ[\'{TOKEN_VARIABLE}\']}}"}},{more}\n)\n'
        "answer.raise_for_status()\nprint(answer.json())"
    )


def _typescript(method: str, url: str, body: str) -> str:
    more = f"\n  body: JSON.stringify({body})," if body else ""
    kind = ', "Content-Type": "application/json"' if body else ""
    return (
        f"const answer = await fetch({json.dumps(url)}, {{\n  method: {json.dumps(method)},\n"
        f"  headers: {{ Authorization: `Bearer ${{process.env.{TOKEN_VARIABLE}}}`{kind} }},{more}\n}});\n"
        "if (!answer.ok) throw new Error(await answer.text());\nconsole.log(await answer.json());"
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: f"${name.upper()}" if name in SECRET_FIELDS else _without_secrets(one) for name, one in value.items()
        }
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value
