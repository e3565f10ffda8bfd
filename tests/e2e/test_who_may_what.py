"""The hand-written table of who may what, against the documents of the services and against what they answer."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.access.permissions import CODES, MERCHANT_API_CREDENTIALS, MERCHANT_SESSION, OWNER
from shared.access.principals import ADMINISTRATION, EVERYONE
from tests.harness.client import Api
from tests.harness.documents import path_of
from tests.harness.people import Tenant
from tests.harness.suite import SERVICES, Suite

TABLE = Path(__file__).with_name("who_may_what.yaml")
ADMITS: Mapping[str, frozenset[str]] = {
    "anybody": frozenset(),
    "everybody": EVERYONE,
    "everybody but integrations": EVERYONE - {"pair"},
    "administrators": ADMINISTRATION,
    "administrators and integrations": ADMINISTRATION | {"pair"},
    "administrators and merchants": EVERYONE,
    "sessions": frozenset({"session", "merchant_session"}),
    "merchants": frozenset({"merchant_session"}),
    "merchants and integrations": frozenset({"merchant_session", "pair"}),
    "the owner": frozenset({"session"}),
    "the platform": ADMINISTRATION,
}
"""The credentials that a route for these people admits. Of those that the platform's routes admit, its keys alone hold the permission."""
NOTES = {"unpaid", "step-up"}
REFUSALS = {
    "credentials_missing",
    "credential_not_admitted",
    "owner_required",
    "permission_missing",
    "step_up_required",
    "subscription_required",
}
ENDS_THE_SESSION = {"/v1/sessions", "/v1/sessions/current"}


@dataclass(frozen=True, slots=True)
class Line:
    """What the table says of one route, or a document declares."""

    who: str
    permission: str | None
    unpaid: bool
    step_up: bool

    @property
    def title(self) -> str:
        """The heading under which such lines stand."""
        return f"who: {self.who}" + (f", with: {self.permission}" if self.permission else "")

    @property
    def notes(self) -> str:
        """What stands behind the route."""
        said = [*(["unpaid"] if self.unpaid else []), *(["step-up"] if self.step_up else [])]
        return f" ({', '.join(said)})" if said else ""

    def expected(self, caller: str, held: frozenset[str]) -> str | None:
        """The code with which a caller of this kind is refused who holds these permissions; None: it is let in."""
        if self.who == "anybody":
            return None
        if caller == "nobody":
            return "credentials_missing"
        via = {"owner": "session", "staff": "session"}.get(caller, caller)
        if via not in ADMITS[self.who]:
            return "credential_not_admitted"
        if self.who == "the owner" and caller != "owner":
            return "owner_required"
        if self.permission is not None and self.permission not in held:
            return "permission_missing"
        return "step_up_required" if self.step_up and via in ("session", "merchant_session") else None


def read_table() -> Iterator[tuple[str, Line]]:
    """The routes of the table (`identity GET /v1/staff`), in its order."""
    for group in yaml.safe_load(TABLE.read_text("utf-8")):
        assert group["who"] in ADMITS, group["who"]
        permission = group.get("with")
        assert permission is None or permission in CODES, permission
        for service in group.keys() - {"who", "with"}:
            assert service in SERVICES, service
            for text in group[service]:
                route, _, noted = text.partition(" (")
                notes = set(noted.removesuffix(")").split(", ")) - {""}
                assert notes <= NOTES, text
                always = group["who"] in ("anybody", "the platform")
                line = Line(group["who"], permission, always or "unpaid" in notes, "step-up" in notes)
                yield f"{service} {route}", line


def declared() -> dict[str, Line]:
    """What the documents of the services declare."""
    found = {}
    for service in SERVICES:
        paths = json.loads(path_of(service, "openapi").read_text("utf-8"))["paths"]
        for path, operations in paths.items():
            for method, operation in operations.items():
                found[f"{service} {method.upper()} {path}"] = declaration(operation)
    return found


def declaration(operation: Mapping[str, Any]) -> Line:
    """The words of the table for what a document says."""
    permission, admits = operation.get("x-required-permission"), frozenset(operation["x-admits"])
    if operation["x-access"] == "public":
        who = "anybody"
    elif operation.get("x-owner-only"):
        who = "the owner"
    elif permission is not None and permission.startswith("platform."):
        who = "the platform"
    elif admits == EVERYONE:
        who = "everybody" if permission is None else "administrators and merchants"
    else:
        who = next((name for name, kinds in ADMITS.items() if kinds == admits), f"(no word for {sorted(admits)})")
    unpaid = operation["x-subscription-exempt"] or who in ("anybody", "the platform")
    return Line(who, permission, unpaid, operation.get("x-step-up", False))


def test_the_table_has_every_route_once_and_as_it_is_declared() -> None:
    listed, documents = list(read_table()), declared()
    table = dict(listed)
    wrong = []

    for name, line in documents.items():
        service, _, route = name.partition(" ")
        shown = line.notes if line.who not in ("anybody", "the platform") else ""
        to_add = f"under `{line.title}`, {service}:\n      - {route}{shown}"
        if name not in table:
            wrong.append(f"{name} is not in the table. If this is meant, add {to_add}")
        elif table[name] != line:
            wrong.append(
                f"{name} stands under `{table[name].title}`{table[name].notes}. If the service is right: {to_add}"
            )
    wrong += [f"{name} is in the table, and in no service" for name in table if name not in documents]
    wrong += [f"{name} is in the table twice" for name in table if [one for one, _ in listed].count(name) > 1]

    assert not wrong, "\n\n".join([f"{TABLE.name}:", *wrong])


def test_no_integration_reaches_what_administrators_manage() -> None:
    """Of the table itself: what the product promises, whatever is declared."""
    for name, line in read_table():
        opened = line.who != "anybody" and "pair" in ADMITS[line.who]
        if opened and line.permission is not None:
            assert line.permission in MERCHANT_API_CREDENTIALS, name
        if line.who == "administrators and merchants":
            assert line.permission in MERCHANT_SESSION, name
        assert name.startswith(("jobs ", "identity GET /v1/api-settings/locations")) or not opened or line.unpaid, name
        assert line.permission is None or line.who == "the platform" or line.permission in OWNER, name


@pytest.fixture
async def callers(suite: Suite, tenant: Tenant) -> dict[str, tuple[Api, frozenset[str]]]:
    """A caller of each kind, with the permissions that it holds."""
    merchant = await tenant.create_merchant()
    scopes = ["reports", "settings.webhooks.read"]
    made = await tenant.owner.at("identity").create("/v1/api-keys", {"name": "a key", "scopes": scopes})
    return {
        "nobody": (suite.nobody, frozenset()),
        "owner": (await (await suite.people.log_in(tenant.id, tenant.owner_email)).settled(), OWNER),
        "staff": (await tenant.create_staff("home"), frozenset({"home"})),
        "user_key": (
            await suite.nobody.using({"X-Api-Key": made["api_key"]}).settled(),
            frozenset({"reports", "reports.read", "settings.webhooks.read"}),
        ),
        "platform_key": (suite.platform.in_tenant(tenant.id), CODES),
        "merchant_session": (await (await merchant.session()).settled(), MERCHANT_SESSION),
        "pair": (await merchant.reveal(), MERCHANT_API_CREDENTIALS),
    }


async def test_every_route_answers_everybody_as_the_table_says(
    suite: Suite, callers: dict[str, tuple[Api, frozenset[str]]]
) -> None:
    table = dict(read_table())
    wrong = []

    for route in sorted(await suite.all_routes(), key=lambda route: (route.path in ENDS_THE_SESSION, str(route))):
        if route.path in ENDS_THE_SESSION and route.method == "DELETE":
            # Who is let in has no session afterwards: `test_sessions.py` tells of that.
            continue
        for caller, (api, held) in callers.items():
            answer = await route.call(api)
            problem = answer.json().get("code") if answer.status_code >= 400 else None
            refusal = problem if problem in REFUSALS else None
            expected = table[str(route)].expected(caller, held)
            if refusal != expected:
                wrong.append(f"{route} for {caller}: {refusal or answer.status_code}, not {expected or 'let in'}")

    assert not wrong, "\n".join(wrong)
