"""The hand-written table of who may what (`tests/e2e/who_may_what.yaml`), and what the documents of the services say in its words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.access.permissions import CODES
from shared.access.principals import ADMINISTRATION, EVERYONE
from tests.harness.documents import path_of
from tests.harness.suite import SERVICES

TABLE = Path(__file__).parents[1] / "e2e" / "who_may_what.yaml"
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


@dataclass(frozen=True, slots=True)
class Line:
    """What the table says of one route, or a document declares."""

    who: str
    permissions: frozenset[str]
    """Any of them is enough; none is needed where there is none."""
    unpaid: bool
    step_up: bool

    @property
    def title(self) -> str:
        """The heading under which such lines stand."""
        return f"who: {self.who}" + (f", with: {' or '.join(sorted(self.permissions))}" if self.permissions else "")

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
        if self.permissions and not self.permissions & held:
            return "permission_missing"
        return "step_up_required" if self.step_up and via in ("session", "merchant_session") else None


def read_table() -> Iterator[tuple[str, Line]]:
    """The routes of the table (`identity GET /v1/staff`), in its order."""
    for group in yaml.safe_load(TABLE.read_text("utf-8")):
        assert group["who"] in ADMITS, group["who"]
        permissions = frozenset(group["with"].split(" or ")) if "with" in group else frozenset()
        assert permissions <= CODES, permissions
        for service in group.keys() - {"who", "with"}:
            assert service in SERVICES, service
            for text in group[service]:
                route, _, noted = text.partition(" (")
                notes = set(noted.removesuffix(")").split(", ")) - {""}
                assert notes <= NOTES, text
                always = group["who"] in ("anybody", "the platform")
                line = Line(group["who"], permissions, always or "unpaid" in notes, "step-up" in notes)
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
    permissions = frozenset(one for one in (permission, operation.get("x-or-permission")) if one)
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
    return Line(who, permissions, unpaid, operation.get("x-step-up", False))
