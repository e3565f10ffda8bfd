"""The rules of the house that neither the type checker, the linter nor the import contracts can say (see `.importlinter`)."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import yaml

from shared.chassis.settings import ProcessSettings
from shared.postgres.advisory_locks import AdvisoryLock, KeyedAdvisoryLock
from tests.harness.compatibility import events

ROOT = Path(__file__).parents[1]
SERVICES = ("identity", "billing", "jobs", "webhooks")
SERVICE_FOLDERS = {name: ROOT / "services" / name / "src" / name for name in SERVICES}
CONSOLE = ROOT / "services/console/src/console"
"""It has a floor plan of its own (`services/console/README.md`): pages on the public API."""
APPLICATIONS = (*SERVICES, "console")
SHARED = ROOT / "shared/src/shared"

MODULE_LINES_MAX = 400
TEST_LINES_MAX = 600
"""A file of tests is a list of sentences: it may be longer than a module that has to be understood as a whole."""
FUNCTION_LINES_MAX = 70
TEST_NAME_WORDS_MIN = 3
PARTITIONS = 12

NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "base", "types", "misc"})
HTTP_CLIENTS = frozenset(
    {"aiohttp", "httpx", "http.client", "httptools", "pyreqwest", "requests", "urllib.request", "urllib3"}
)
KAFKA_CLIENTS = frozenset(
    {
        "aiokafka",
        "faststream",
        "confluent_kafka",
        "shared.messaging.consumer",
        "shared.messaging.producer",
        "shared.messaging.relay",
        "shared.messaging.subscriber",
    }
)
NOUN_FILES = frozenset(
    {"__init__", "routes", "consumer", "worker", "operations", "queries", "rules", "tables", "schemas"}
)
"""The files of a noun: the same names in every service."""
ENGINE_FILES = {
    "billing.invoice_documents": {"contents", "rendering"},
    "billing.providers": {"fake", "port", "stripe"},
    "billing.subscriptions": {"effects", "terms"},
    "identity.authentication": {"reauthentication", "session_tokens"},
    "identity.logins": {"passwords"},
    "identity.mail": {"business_kinds", "connections", "kinds", "rendering"},
    "jobs.file_formats": {"charsets", "csv_format", "record_reader"},
    "jobs.imports": {"batch_writer", "checks", "file_intake", "refused_rows"},
    "jobs.search": {"planner", "query", "reindex"},
    "jobs.search_index": {"time_buckets", "tokens"},
    "webhooks.deliveries": {"details", "endpoint_tests", "matching", "results"},
    "webhooks.dispatch": {
        "dispatcher",
        "metrics",
        "prestore",
        "process",
        "result_writer",
        "scheduler",
        "throttle",
    },
    "webhooks.endpoints": {"cache", "health", "secrets", "stats"},
    "webhooks.events": {"event_types", "fan_out", "feed", "stream"},
    "webhooks.http_client": {
        "connection",
        "connection_pool",
        "connector",
        "deadlines",
        "dns_cache",
        "egress_guard",
        "requests",
        "responses",
        "sender",
    },
    "webhooks.postgres": {"array_literals", "autocommit", "time_ordered_ids"},
    "webhooks.queue": {"batch_leases", "due", "leases"},
}
"""Folders that hold a mechanism beside a noun's usual files, and what its parts are called."""
NOUN_FILES_MAX = 11
SERVICE_FILES = frozenset(
    {"__init__", "__main__", "app", "config", "metadata", "registry", "fields", "changes", "rows", "search_words"}
)
"""What stands beside the nouns of a service."""
COMPOSITION = frozenset({"app", "metadata", "__main__"})
"""Files that put a service together: they may open any noun's files."""
EDGES = frozenset({"routes", "consumer", "worker"})
OF_RULES = frozenset(
    {
        "cryptography",
        "pydantic",
        "pydantic_core",
        "pyotp",
        "shared.access.authorization",
        "shared.access.entitlement",
        "shared.access.permissions",
        "shared.access.principals",
        "shared.errors",
        "shared.events",
        "shared.folding",
        "shared.ids",
        "shared.observability.redaction",
    }
)
"""What pure rules may use, beside the standard library and each other: a signature is a rule, too."""
PURE_FILES = {
    "billing.providers": {"port"},
    "billing.subscriptions": {"terms"},
    "webhooks.http_client": {"responses"},
    "jobs.search_index": {"time_buckets", "tokens"},
    "jobs.file_formats": {"record_reader"},
}
"""Files that are as pure as rules."""
TECHNICAL_PACKAGES = ("chassis", "crypto", "messaging", "observability", "postgres")
"""Packages of `shared` that know nothing of what Waybill is for."""
WORDS_OF_BUSINESS = frozenset({"merchant", "invoice", "trial", "delivery", "deliveries", "location", "locations"})

OPENS_CONNECTIONS = frozenset({"asyncpg.connect", "asyncpg.create_pool"})
CLIENTS_OF_KAFKA = {
    **dict.fromkeys(("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient")),
    **dict.fromkeys(("Producer", "Relay", "LagMonitor", "PrefetchingBroker"), "security"),
}
"""By the name of what makes one: the keyword that it takes them by; None: as further options (`**`)."""
ADVISORY_LOCK = re.compile(r"pg_(try_)?advisory_")

MAY_COMMIT = {
    "shared/src/shared/postgres/database.py": "the one place in which an operation's transaction is committed",
    "shared/src/shared/postgres/driver_connection.py": "the one helper of the relay, of webhooks' delivery path and of log-ins",
    "shared/src/shared/postgres/migrations.py": "Alembic's own connection; no service is running on it",
}
TRANSACTION_STATEMENT = re.compile(r"\s*(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|AUTOCOMMIT)\s*;?\s*", re.IGNORECASE)
"""A statement that begins or ends a transaction, or the isolation level that commits by itself."""


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    def imports(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Where something is imported, and what: for `from a import b` that may be `a` or `a.b`."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((self.at(node), (alias.name,)) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((self.at(node), (node.module, f"{node.module}.{alias.name}")) for alias in node.names)


def modules(*folders: Path) -> list[Module]:
    return [
        Module(path) for folder in folders for path in sorted(folder.rglob("*.py")) if "node_modules" not in path.parts
    ]


SOURCES = modules(SHARED, *SERVICE_FOLDERS.values(), CONSOLE)
EVERYTHING = [*SOURCES, *modules(ROOT / "deploy", ROOT / "tests", ROOT / "bench")]


def of_service(name: str) -> list[Module]:
    return modules(SERVICE_FOLDERS[name])


def within(imported: tuple[str, ...], families: frozenset[str]) -> bool:
    """Whether one of these names is a module of these families."""
    return any(name == family or name.startswith(f"{family}.") for name in imported for family in families)


def test_only_the_transaction_helper_commits_and_rolls_back() -> None:
    found = [
        f"{module.at(node)}: .{node.func.attr}()"
        for module in SOURCES
        if module.name not in MAY_COMMIT
        for node in module.nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "rollback")
        # What a Kafka consumer commits are the offsets that it is given.
        and not node.args
    ]
    statements = [
        f"{module.at(node)}: {node.value}"
        for module in SOURCES
        if module.name not in MAY_COMMIT
        for node in module.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and TRANSACTION_STATEMENT.fullmatch(node.value)
    ]
    connections = [
        f"{module.at(node)}: {ast.unparse(node)}"
        for module in SOURCES
        if module.name not in MAY_COMMIT
        for node in module.nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node) in OPENS_CONNECTIONS
    ]

    assert found + statements + connections == []


def test_faststream_is_behind_one_module() -> None:
    found = [
        place
        for module in SOURCES
        if module.name != "shared/src/shared/messaging/faststream_adapter.py"
        for place, imported in module.imports()
        if within(imported, frozenset({"faststream"}))
    ]

    assert found == []


def test_advisory_locks_are_taken_by_name_from_one_table() -> None:
    table = "shared/src/shared/postgres/advisory_locks.py"
    found = [
        f"{module.at(node)}: {node.value.strip()}"
        for module in SOURCES
        if module.name != table and "versions" not in module.path.parts
        for node in module.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ADVISORY_LOCK.search(node.value)
    ]
    calls = [
        f"{module.at(node)}: {node.attr}"
        for module in SOURCES
        for node in module.nodes
        if isinstance(node, ast.Attribute) and ADVISORY_LOCK.search(node.attr)
    ]
    numbers = [lock.value for locks in (AdvisoryLock, KeyedAdvisoryLock) for lock in locks]

    assert found + calls == []
    assert len(numbers) == len(set(numbers))


def test_no_instant_is_without_its_time_zone() -> None:
    found = []
    for module in EVERYTHING:
        for node in module.nodes:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            arguments = len(node.args) + len(node.keywords)
            naive = {"now": arguments == 0, "fromtimestamp": arguments == 1, "utcnow": True, "utcfromtimestamp": True}
            if naive.get(node.func.attr, False) and "datetime" in ast.unparse(node.func.value):
                found.append(f"{module.at(node)}: {ast.unparse(node)}")

    assert found == []


def test_services_send_http_from_one_noun_alone() -> None:
    found = [
        f"{place}: {imported[-1]}"
        for name in SERVICES
        for module in of_service(name)
        if not _calls_out(module.path.relative_to(SERVICE_FOLDERS[name]))
        for place, imported in module.imports()
        if within(imported, HTTP_CLIENTS)
    ]

    assert found == []


def test_the_console_sends_http_from_its_gateway_alone() -> None:
    found = [
        f"{place}: {imported[-1]}"
        for module in modules(CONSOLE)
        if module.path.parent.name != "gateway"
        for place, imported in module.imports()
        if within(imported, HTTP_CLIENTS)
    ]

    assert found == []


def _calls_out(path: Path) -> bool:
    """Webhooks calls receivers, billing a payment provider; no service calls another one."""
    return path.parts[0] in ("http_client", "providers")


def test_events_leave_a_service_through_the_outbox_alone() -> None:
    found = [
        f"{place}: {imported[-1]}"
        for name in SERVICES
        for module in of_service(name)
        for place, imported in module.imports()
        if within(imported, KAFKA_CLIENTS)
    ]

    assert found == []


def nouns_of(service: str) -> dict[str, list[Module]]:
    """The modules of each noun folder."""
    folder = SERVICE_FOLDERS[service]
    nouns: dict[str, list[Module]] = {}
    for module in of_service(service):
        parts = module.path.relative_to(folder).parts
        if len(parts) > 1 and parts[0] != "migrations":
            nouns.setdefault(parts[0], []).append(module)
    return nouns


@pytest.mark.parametrize("service", SERVICES)
def test_a_noun_has_the_same_file_names_everywhere(service: str) -> None:
    folder = SERVICE_FOLDERS[service]
    beside = {path.stem for path in folder.glob("*.py")}
    unknown = {}
    for noun, files in nouns_of(service).items():
        names = {module.path.stem for module in files}
        assert {"__init__"} < names, f"{service}.{noun} has nothing but its __init__, or none"
        assert len(names) <= NOUN_FILES_MAX, f"{service}.{noun} has too many files"
        assert {module.path.parent for module in files} == {folder / noun}, f"{service}.{noun} has folders of its own"
        if more := names - NOUN_FILES - ENGINE_FILES.get(f"{service}.{noun}", set()):
            unknown[noun] = more

    assert unknown == {}
    assert beside <= SERVICE_FILES


def test_the_files_of_mechanisms_are_there() -> None:
    for noun, names in (ENGINE_FILES | PURE_FILES).items():
        service, _, folder = noun.partition(".")
        assert names <= {path.stem for path in (SERVICE_FOLDERS[service] / folder).glob("*.py")}, noun


@pytest.mark.parametrize("service", SERVICES)
def test_other_nouns_are_used_through_their_package_alone(service: str) -> None:
    folder = SERVICE_FOLDERS[service]
    nouns = nouns_of(service)
    found = []
    for module in of_service(service):
        own, *inside = module.path.relative_to(folder).parts
        if own == "migrations" or (not inside and module.path.stem in COMPOSITION):
            continue
        for place, imported in module.imports():
            for name in imported[:1]:
                _, _, path = name.partition(f"{service}.")
                noun, _, file = path.partition(".")
                if noun in nouns and noun != own and file:
                    found.append(f"{place}: {name}")

    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_package_offers_no_edge(service: str) -> None:
    found = [
        f"{place}: {name}"
        for files in nouns_of(service).values()
        for module in files
        if module.path.stem == "__init__"
        for place, imported in module.imports()
        for name in imported[:1]
        if name.rpartition(".")[2] in EDGES
    ]

    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_rules_of_a_service_depend_on_no_framework(service: str) -> None:
    pure = {
        module.path: module
        for noun, files in nouns_of(service).items()
        for module in files
        if module.path.stem in {"rules"} | PURE_FILES.get(f"{service}.{noun}", set())
    }
    assert pure
    folder = SERVICE_FOLDERS[service]
    names = {".".join((service, *path.relative_to(folder).with_suffix("").parts)) for path in pure}
    # A rule of another noun is reached through its package.
    names |= {
        f"{service}.{noun}.{alias.name}"
        for noun, files in nouns_of(service).items()
        for module in files
        if module.path.stem == "__init__"
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and node.module in names
        for alias in node.names
    }
    allowed = OF_RULES | sys.stdlib_module_names
    found = [
        f"{place}: {imported[-1]}"
        for module in pure.values()
        for place, imported in module.imports()
        if not within(imported, allowed) and not set(imported) & names
    ]

    assert found == []


def test_the_plumbing_of_shared_knows_no_business() -> None:
    found = [
        f"{module.at(node)}: {name}"
        for package in TECHNICAL_PACKAGES
        for module in modules(SHARED / package)
        for node in module.nodes
        for name in _names_in(node)
        if WORDS_OF_BUSINESS & {word.lower() for word in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)}
    ]

    assert found == []


def _names_in(node: ast.AST) -> list[str]:
    """What a node of a syntax tree names."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
    return []


def test_every_topic_is_made_with_a_place_for_its_dead_letters() -> None:
    file = yaml.safe_load((ROOT / "deploy/kafka/topics.yaml").read_text())
    described = {topic["name"]: topic for topic in file["topics"]}
    topics = {event.topic for published in events().values() for event in published} | events().keys()

    for topic in topics:
        assert described[topic]["partitions"] == PARTITIONS
        assert f"{topic}.dlq" in described


def test_every_client_of_kafka_says_who_it_is() -> None:
    """Each gets the options of `shared.messaging.security`, or is handed what they are made of."""
    forgetful = []
    made = set()
    for module in SOURCES:
        for node in module.nodes:
            name = _name_of_called(node)
            if name in CLIENTS_OF_KAFKA:
                assert isinstance(node, ast.Call)
                made.add(name)
                wanted = CLIENTS_OF_KAFKA[name]
                if not any(keyword.arg == wanted for keyword in node.keywords):
                    forgetful.append(f"{module.at(node)}: {name}")
    assert forgetful == []
    assert made == set(CLIENTS_OF_KAFKA)


def _name_of_called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("service", APPLICATIONS)
def test_every_setting_stands_in_the_readme(service: str) -> None:
    settings = _settings(service)
    prefix = str(settings.model_config.get("env_prefix"))
    variables = {
        str(field.validation_alias) if field.validation_alias else f"{prefix}{name}".upper()
        for name, field in settings.model_fields.items()
    }
    readme = (ROOT / "services" / service / "README.md").read_text()
    shared_by_all = {variable for variable in variables if variable.startswith("WAYBILL_")}
    elsewhere = "".join(file.read_text() for file in (ROOT / "README.md", ROOT / "shared/README.md") if file.exists())

    assert prefix == f"{service.upper()}_"
    assert sorted(variable for variable in variables - shared_by_all if f"`{variable}`" not in readme) == []
    assert sorted(variable for variable in shared_by_all if f"`{variable}`" not in readme + elsewhere) == []
    assert sorted(set(re.findall(rf"`({prefix}[A-Z_]+)`", readme)) - variables) == []


def _settings(service: str) -> type[ProcessSettings]:
    module = __import__(f"{service}.config", fromlist=["Settings"])
    settings: type[ProcessSettings] = module.Settings
    return settings


@pytest.mark.parametrize("service", APPLICATIONS)
def test_every_setting_is_described(service: str) -> None:
    assert [name for name, field in _settings(service).model_fields.items() if not field.description] == []


def test_every_module_is_named_by_what_it_is_about() -> None:
    named = {module.name: {module.path.stem, module.path.parent.name} for module in EVERYTHING}

    assert [name for name, words in named.items() if words & NAMELESS] == []


def test_no_module_is_too_long_to_read() -> None:
    lengths = {module.name: module.text.count("\n") for module in EVERYTHING}

    def bound(name: str) -> int:
        return TEST_LINES_MAX if name.startswith("tests/") else MODULE_LINES_MAX

    assert {name: lines for name, lines in lengths.items() if lines > bound(name)} == {}


def test_no_function_is_too_long_to_read() -> None:
    found = {
        f"{module.at(node)} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for module in EVERYTHING
        # What a migration has done is a list, however long.
        if "versions" not in module.path.parts
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: lines for name, lines in found.items() if lines > FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is_about() -> None:
    assert [module.name for module in EVERYTHING if module.text.strip() and not ast.get_docstring(module.tree)] == []


def test_nothing_is_swallowed_without_a_word() -> None:
    found = [
        module.at(handler)
        for module in SOURCES
        for node in module.nodes
        if isinstance(node, ast.Try)
        for handler in node.handlers
        if _catches_everything(handler) and not _is_accounted_for(module, node, handler)
    ]

    assert found == []


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def _is_accounted_for(module: Module, attempt: ast.Try, handler: ast.ExceptHandler) -> bool:
    """A comment with the reason (in the handler, or right above the attempt), a log line, or the error raised again."""
    lines = module.text.splitlines()
    near = [lines[attempt.lineno - 2], *lines[handler.lineno - 1 : handler.end_lineno]]
    commented = any(line.strip().startswith("#") or "  # " in line for line in near)
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    logged = any(isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.") for node in inside)
    return commented or logged or any(isinstance(node, ast.Raise) for node in inside)


def test_the_name_of_a_test_is_a_sentence() -> None:
    found = [
        f"{module.at(node)}: {node.name}"
        for module in EVERYTHING
        if module.path.stem.startswith("test_")
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if len(node.name.removeprefix("test_").split("_")) < TEST_NAME_WORDS_MIN
    ]

    assert found == []


def test_the_documents_name_files_that_exist() -> None:
    missing = []
    for document in (ROOT / "ARCHITECTURE.md", ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md"):
        text = document.read_text()
        for file, _, test in re.findall(r"`(tests/[\w./-]+?)(::(\w+))?`", text):
            path = ROOT / file
            if not path.exists() or (test and f"def {test}(" not in path.read_text()):
                missing.append(f"{document.name}: {file} {test}")
        for service, file in re.findall(r"`(shared|identity|billing|jobs|webhooks|console)/([\w/]+\.py)`", text):
            folder = {"shared": SHARED, "console": CONSOLE, **SERVICE_FOLDERS}[service]
            if not (folder / file).exists():
                missing.append(f"{document.name}: {service}/{file}")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        missing += [f"{document.name}: {link}" for link in links if not (document.parent / link).exists()]

    assert missing == []
