"""Forms: the name of a field is the JSON pointer of what it becomes in the request, so what a service refuses finds its field by itself."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from console import messages
from console.gateway import Answer, Away, Changed, Conflict, Invalid, Problem, TooMany
from console.i18n import current
from console.i18n import gettext as _

FIELDS_MAX = 500
REFUSALS: tuple[type[Problem], ...] = (Invalid, Conflict, Changed, TooMany, Away)
"""What a form says itself."""
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
IDEMPOTENCY_KEY = "idempotency_key"
IF_MATCH = "if_match"

SECRETS = frozenset({"password", "current_password", "new_password", "code", "key"})

Reader = Callable[[Sequence[str]], Any]
"""What a field's values, as a browser sends them, become in the request; None where nothing was entered."""


def text(values: Sequence[str]) -> str | None:
    """The text; None where it is blank."""
    return values[-1].strip() or None if values else None


def secret(values: Sequence[str]) -> str | None:
    """A password or code: as it was typed."""
    return values[-1] or None if values else None


def integer(values: Sequence[str]) -> int | str | None:
    """A whole number; what is none is sent as it is, for the service to say so."""
    given = text(values)
    return int(given) if given is not None and given.lstrip("-").isdecimal() else given


def instant(values: Sequence[str]) -> str | None:
    """A local time in the reader's zone, as an instant."""
    given = text(values)
    return None if given is None else current().instant_of(given)


def boolean(values: Sequence[str]) -> bool:
    """A check box: browsers send nothing for one that is not checked."""
    return bool(values) and values[-1] not in ("", "false", "off")


def several(values: Sequence[str]) -> list[str]:
    """All values of fields with this name: check boxes, a list of choices."""
    return [value for value in values if value]


def lines(values: Sequence[str]) -> list[str]:
    """The lines of a text, without empty ones."""
    return [line.strip() for value in values for line in value.splitlines() if line.strip()]


def is_secret(name: str) -> bool:
    """Whether a field of this name has what is never shown again."""
    return name.rpartition("/")[2] in SECRETS


class Form:
    """What was entered, and what is wrong with it. An empty one is shown first, with the values that are there now."""

    def __init__(self, fields: Mapping[str, Sequence[str]] | None = None, *, values: Mapping[str, Any] | None = None):
        self._fields = dict(fields or {})
        self._values = values or {}
        self.errors: dict[str, list[str]] = {}
        self.theirs: dict[str, str | list[str] | bool] = {}
        """By pointer what somebody else has saved meanwhile, where it differs."""
        self.problem: Problem | None = None
        self.idempotency_key = self.plain(IDEMPOTENCY_KEY) or secrets.token_urlsafe(16)
        self.if_match = self.plain(IF_MATCH)

    @classmethod
    def parse(cls, body: bytes) -> "Form":
        """A form as browsers send it. Raises `ValueError`."""
        fields: dict[str, list[str]] = {}
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=FIELDS_MAX)
        for name, value in pairs:
            fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
        return cls(fields)

    @classmethod
    def of(cls, answer: Answer | Mapping[str, Any], *, if_match: str | None = None) -> "Form":
        """A form that shows a record as it is now, for a change of exactly that version."""
        form = cls(values=answer.body if isinstance(answer, Answer) else answer)
        form.if_match = (answer.etag if isinstance(answer, Answer) else "") if if_match is None else if_match
        return form

    def plain_fields(self) -> list[tuple[str, str]]:
        """Every field as it was sent."""
        return [(name, value) for name, values in self._fields.items() for value in values]

    @property
    def was_sent(self) -> bool:
        return bool(self._fields)

    @property
    def status(self) -> int:
        """The status with which the form is shown: 200 before it was sent, else that of the refusal."""
        return 200 if self.problem is None else self.problem.status

    def plain(self, name: str) -> str:
        """A field that is no part of the request."""
        values = self._fields.get(name)
        return values[-1] if values else ""

    def all(self, name: str) -> list[str]:
        """All values of a field that is no part of the request."""
        return list(self._fields.get(name, []))

    def value(self, pointer: str) -> Any:
        """What a field shows: what was entered, else what is there now."""
        if pointer in self._fields:
            return self._fields[pointer][-1]
        return self._present(pointer)

    def checked(self, pointer: str, choice: str | None = None) -> bool:
        """Whether a check box is checked: by itself, or the one of a list with this choice."""
        if self.was_sent:
            return (
                choice in self._fields.get(pointer, [])
                if choice is not None
                else boolean(self._fields.get(pointer, []))
            )
        present = self._present(pointer)
        return present is not None and choice in present if choice is not None else bool(present)

    def document(self, fields: Mapping[str, Reader], *, nulls: bool = False) -> dict[str, Any]:
        """The body of the request: each pointer with its value. Without `nulls` what was left empty is left out."""
        body: dict[str, Any] = {}
        for pointer, read in fields.items():
            value = read(self._fields.get(pointer, []))
            if value is None and not nulls:
                continue
            *parents, name = [_plain(part) for part in pointer.split("/")[1:]]
            at = body
            for parent in parents:
                at = at.setdefault(parent, {})
            at[name] = value
        return body

    def refuse(self, pointer: str, message: str) -> None:
        """Say that something is wrong with a field."""
        self.errors.setdefault(pointer, []).append(message)

    async def send(self, call: Awaitable[Answer], *, also: tuple[type[Problem], ...] = ()) -> Answer | None:
        """Make the call; None where it was refused in a way that the form can show, or that `also` names.

        Raises `Problem` for everything else.
        """
        try:
            return await call
        except Problem as problem:
            if not isinstance(problem, REFUSALS + also):
                raise
            self.refused(problem)
            return None

    def refused(self, problem: Problem) -> None:
        """Show why the form was not accepted."""
        self.problem = problem
        for error in problem.errors:
            message = messages.sentence(error.get("code", ""), error.get("message", ""))
            self.refuse(error.get("pointer") or error.get("parameter") or "", message)

    def compare(self, now: "Form", pointers: Iterable[str] = ()) -> None:
        """After somebody else's change: keep what differs in what is there now. Sent again, the form changes that version."""
        if not isinstance(self.problem, Changed):
            return
        self.if_match = now.if_match
        for pointer in pointers:
            theirs, mine = _as_sent(now.value(pointer)), self._fields.get(pointer, [])
            if isinstance(theirs, list):
                differs = sorted(theirs) != sorted(several(mine))
            elif isinstance(theirs, bool):
                differs = theirs != boolean(mine)
            else:
                differs = theirs != (text(mine) or "")
            if differs:
                self.theirs[pointer] = theirs

    @property
    def summary(self) -> str:
        """One sentence of what happened; empty where nothing did."""
        match self.problem:
            case None:
                return _("Please correct what is marked below.") if self.errors else ""
            case Invalid():
                return _("Please correct what is marked below.") if self.errors else messages.of_problem(self.problem)
            case Changed():
                return _(
                    "Somebody else has changed this meanwhile. What is there now stands beside what you have entered."
                )
            case TooMany():
                return _("Too many attempts. Please wait.")
            case Away(outcome_is_unknown=True):
                return _("No answer came, so this may have been saved or not. You can send it again: it is done once.")
            case Away():
                return _("This part of Waybill is not available right now. Nothing was saved; try again in a moment.")
            case _:
                return messages.of_problem(self.problem)

    def _present(self, pointer: str) -> Any:
        if not pointer.startswith("/"):
            # A field that is no part of the document.
            return None
        value: Any = self._values
        for part in pointer.split("/")[1:]:
            if not isinstance(value, Mapping):
                return None
            value = value.get(_plain(part))
        return value


def _as_sent(value: Any) -> str | list[str] | bool:
    """A value as a form that shows it sends it: several for a list of check boxes, yes or no for one, else a text."""
    if isinstance(value, list | bool):
        return value
    return "" if value is None else str(value).strip()


def _plain(part: str) -> str:
    """A part of a pointer, unescaped (RFC 6901)."""
    return part.replace("~1", "/").replace("~0", "~")
