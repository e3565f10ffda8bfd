"""Access to Kafka: which service may read and write which topic, made from what `topics.yaml` says.

A service is one user of Kafka. It writes the topics of which it is a writer, reads those of which it is a reader with consumer groups whose
names begin with its own, and writes the dead letters of what it reads. Whatever no rule allows, a broker with an authorizer refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest_v1, DescribeAclsRequest_v1
from aiokafka.protocol.api import Request

Resource = Literal["topic", "group"]
Pattern = Literal["literal", "prefixed"]
Operation = Literal["Read", "Write"]

# Kafka's numbers for the same, and for "any" in a filter.
RESOURCES: Mapping[Resource, int] = {"topic": 2, "group": 3}
PATTERNS: Mapping[Pattern, int] = {"literal": 3, "prefixed": 4}
OPERATIONS: Mapping[Operation, int] = {"Read": 3, "Write": 4}
ANY, ALLOW = 1, 3
ANY_HOST = "*"


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One rule: a user may do this with a topic, or with all groups whose names begin so. Each implies to describe it."""

    user: str
    operation: Operation
    resource: Resource
    name: str
    pattern: Pattern = "literal"

    def __str__(self) -> str:
        beginning = " that begins with" if self.pattern == "prefixed" else ""
        return f"{self.user} may {self.operation.lower()} {self.resource}{beginning} {self.name}"

    def as_arguments(self) -> str:
        """The same for Kafka's own `kafka-acls`."""
        pattern = " --resource-pattern-type prefixed" if self.pattern == "prefixed" else ""
        return f"--add --allow-principal User:{self.user} --operation {self.operation} --{self.resource} {self.name}{pattern}"

    @property
    def as_row(self) -> tuple[int, str, int, str, str, int, int]:
        """The same in Kafka's protocol."""
        kind = (RESOURCES[self.resource], self.name, PATTERNS[self.pattern])
        return (*kind, f"User:{self.user}", ANY_HOST, OPERATIONS[self.operation], ALLOW)


@dataclass(frozen=True, slots=True)
class TopicAccess:
    """Who writes and who reads one topic."""

    name: str
    writers: Sequence[str]
    readers: Sequence[str]


def wanted(topics: Sequence[TopicAccess], *, prefix: str = "", users: Mapping[str, str] | None = None) -> list[Acl]:
    """The rules for these topics, in order. `users` names the Kafka users of services that are not called like them."""
    found: set[Acl] = set()
    for topic in topics:
        name = f"{prefix}{topic.name}"
        found |= {Acl(_user(writer, users), "Write", "topic", name) for writer in topic.writers}
        for reader in topic.readers:
            user = _user(reader, users)
            found.add(Acl(user, "Read", "topic", name))
            found.add(Acl(user, "Read", "group", f"{prefix}{reader}.", "prefixed"))
    return sorted(found)


async def apply(admin: AIOKafkaAdminClient, rules: Sequence[Acl], *, prefix: str = "") -> list[str]:
    """Make these rules those of their users, among names that begin with `prefix`; one sentence for each change. Raises `KafkaError`."""
    rows = {rule.as_row: rule for rule in rules}
    present = await _rows_of(admin, {rule.user for rule in rules})
    missing = [row for row in rows if row not in present]
    extra = sorted(row for row in present if row not in rows and row[1].startswith(prefix))
    if missing:
        answer = await admin._send_request(_Create(missing))
        _raise_first((code, message) for code, message in answer.creation_responses)
    if extra:
        answer = await admin._send_request(_Delete(extra))
        _raise_first((code, message) for code, message, _ in answer.filter_responses)
    return [f"{rows[row]}" for row in missing] + [f"no longer allowed: {row[3]} on {row[1]}" for row in extra]


def _user(service: str, users: Mapping[str, str] | None) -> str:
    return (users or {}).get(service, service)


async def _rows_of(admin: AIOKafkaAdminClient, users: set[str]) -> set[tuple[Any, ...]]:
    found: set[tuple[Any, ...]] = set()
    for user in sorted(users):
        answer = await admin._send_request(_Describe(f"User:{user}"))
        _raise_first([(answer.error_code, answer.error_message)])
        for kind, name, pattern, acls in answer.resources:
            found |= {(kind, name, pattern, *acl) for acl in acls}
    return found


def _raise_first(outcomes: Any) -> None:
    for code, message in outcomes:
        if code:
            raise for_code(code)(message or for_code(code).__name__)


# aiokafka has these requests without a call for them, one rule in each, and with a newest version that is not encoded as Kafka wants it.
class _Describe(Request[DescribeAclsRequest_v1]):  # type: ignore[misc]  # aiokafka publishes no types
    API_KEY = DescribeAclsRequest_v1.API_KEY

    def __init__(self, principal: str):
        self._filter = (ANY, None, ANY, principal, None, ANY, ANY)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._filter)


class _Create(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, rows: Sequence[tuple[Any, ...]]):
        self._rows = list(rows)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._rows)


class _Delete(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = DeleteAclsRequest_v1.API_KEY

    def __init__(self, rows: Sequence[tuple[Any, ...]]):
        self._rows = list(rows)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._rows)
