"""Makes the schemas of an OpenAPI document plain, so that people and generators of clients read them alike.

- What may be null has the type `[…, "null"]`; titles, which only repeat names, and limits that JSON Schema does not know are left out.
- Requests have no defaults: generated clients would take such members for required, or send them. The description says what is meant.
- Answers always have all their members: they are required. A member whose default is null, but which cannot be null, may be absent.
- Every object has an example that is made from those of its members.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

Schema = dict[str, Any]
Glossary = Mapping[str, Sequence[Any]]
"""The description of each word, and perhaps an example; a key may name one schema (`Job.id`)."""

PREFIX = "#/components/schemas/"
METHODS = ("get", "put", "post", "delete", "patch")
NULL = {"type": "null"}
_NAMES = ((re.compile("^Page_(.+)_$"), r"\1List"), (re.compile("State(?=$|List$)"), ""))
"""Names as a person would give them: `JobList` for a page of jobs, `Action` for what is also the data of events (`ActionState`)."""

_ONE = ("items", "additionalProperties", "propertyNames")
_SEVERAL = ("anyOf", "oneOf", "allOf")
_PUNCTUATION = {",": "comma", ";": "semicolon", "\t": "tab"}
_FOREIGN = ("le", "ge", "lt", "gt")
_BY_FORMAT = {"date-time": "2030-01-31T09:00:00Z", "date": "2030-01-31"}
_BY_TYPE: Mapping[str, Any] = {"boolean": False, "integer": 1, "number": 1.0}
_REFERENCE = re.compile(f'"{PREFIX}([^"]+)"')


def refine(document: dict[str, Any], enums: Mapping[str, Any], glossary: Glossary) -> None:
    """Change all schemas of the document.

    `enums` are closed sets of values (`Literal`s) by the names that they get; `glossary` explains members by their names.
    """
    _rename(document)
    schemas = document["components"]["schemas"]
    _name_enums(document, {frozenset(get_args(kind)): name for name, kind in enums.items()})
    for schema in each_schema(document):
        _tidy(schema)
    requested = _reachable((_requests(operation) for _, operation in operations(document)), schemas)
    for name in schemas.keys() - requested:
        _require_members(schemas[name])
    for name in requested:
        for member in schemas[name].get("properties", {}).values():
            _describe_default(member)
    for schema in each_schema(document):
        _leave_out_default(schema)
    _explain(document, glossary)
    _add_examples(document)


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All operations, each with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


def each_schema(document: Mapping[str, Any]) -> Iterator[Schema]:
    """All schemas of the document, those inside of others included."""
    for schema in document["components"]["schemas"].values():
        yield from _with_inner(schema)
    for _, operation in operations(document):
        yield from _in_contents([operation.get("requestBody", {}), *operation["responses"].values()])
        for parameter in _parameters(operation):
            yield from _with_inner(parameter["schema"])


def _parameters(operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its parameters, without those that are components."""
    return [parameter for parameter in operation.get("parameters", []) if "schema" in parameter]


def _in_contents(parts: Iterable[Mapping[str, Any]]) -> Iterator[Schema]:
    for part in parts:
        for media in part.get("content", {}).values():
            yield from _with_inner(media.get("schema", {}))


def _with_inner(schema: Schema) -> Iterator[Schema]:
    yield schema
    inner = [schema[key] for key in _ONE if isinstance(schema.get(key), dict)]
    inner += [one for key in _SEVERAL for one in schema.get(key, [])]
    inner += schema.get("properties", {}).values()
    for one in inner:
        yield from _with_inner(one)


def _rename(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    plain = {name: _plain(name) for name in schemas}
    changed = _REFERENCE.sub(lambda found: f'"{PREFIX}{plain[found[1]]}"', json.dumps(document, ensure_ascii=False))
    document.update(json.loads(changed))
    document["components"]["schemas"] = {
        plain[name]: schema for name, schema in document["components"]["schemas"].items()
    }


def _plain(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = pattern.sub(replacement, name)
    return name


def _name_enums(document: dict[str, Any], names: Mapping[frozenset[Any], str]) -> None:
    """Let requests and answers refer to one schema for each closed set of values."""
    schemas = document["components"]["schemas"]
    made: dict[str, Schema] = {}
    for schema in list(each_schema(document)):
        name = names.get(frozenset(schema.get("enum", ())))
        if name is not None:
            values = schema.pop("enum")
            # In Go the names of all constants of a package are in one space.
            names_of_values = [_constant(name, value) for value in values]
            made[name] = {"type": schema.pop("type"), "enum": values, "x-enum-varnames": names_of_values}
            schema.pop("title", None)
            schema["$ref"] = PREFIX + name
    schemas.update(made)


def _constant(name: str, value: object) -> str:
    """The name of a value in generated clients: `JOB_STATUS_NEW`."""
    text = str(value).replace("-", "DESCENDING_") if str(value).startswith("-") else str(value)
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", f"{name}_{_PUNCTUATION.get(text, text)}")
    return re.sub("[^A-Za-z0-9]+", "_", words).upper()


def _tidy(schema: Schema) -> None:
    if not isinstance(schema.get("title"), dict):
        schema.pop("title", None)
    for keyword in _FOREIGN:
        schema.pop(keyword, None)
    _join_texts(schema)
    choices = schema.get("anyOf", [])
    if NULL in choices:
        others = [one for one in choices if one != NULL]
        if len(others) == 1 and isinstance(others[0].get("type"), str):
            _make_nullable(schema, others[0])
    if "integer" in schema.get("type", ()):
        for bound in ("minimum", "maximum"):
            if isinstance(schema.get(bound), float):
                schema[bound] = int(schema[bound])


def _join_texts(schema: Schema) -> None:
    """Let what is a text of one form or another, such as an instant or a day, be a text: most clients have no type for both."""
    choices = schema.get("anyOf", [])
    if len(choices) > 1 and all(one.keys() <= {"type", "format"} and one["type"] == "string" for one in choices):
        del schema["anyOf"]
        schema["type"] = "string"
        schema.setdefault("examples", [_BY_FORMAT[one["format"]] for one in choices if one.get("format") in _BY_FORMAT])


def _make_nullable(schema: Schema, only: Schema) -> None:
    del schema["anyOf"]
    for keyword, value in only.items():
        schema.setdefault(keyword, value)
    schema["type"] = [only["type"], "null"]
    if "const" in only:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]


def _requests(operation: Mapping[str, Any]) -> Any:
    return [operation.get("requestBody"), operation.get("parameters")]


def _reachable(parts: Iterable[Any], schemas: Mapping[str, Schema]) -> set[str]:
    """Names of the schemas to which these parts of the document lead."""
    found: set[str] = set()
    waiting = list(parts)
    while waiting:
        new = set(_REFERENCE.findall(json.dumps(waiting.pop()))) - found
        found |= new
        waiting += [schemas[name] for name in new]
    return found


def _can_be_null(schema: Schema) -> bool:
    return "null" in schema.get("type", ()) or NULL in schema.get("anyOf", ())


def _require_members(schema: Schema) -> None:
    members, given = schema.get("properties", {}), frozenset(schema.get("required", ()))
    # FastAPI leaves out a default that is null: a member without any is required only if its schema says so.
    always = [
        name
        for name, member in members.items()
        if name in given or member.get("default") is not None or _can_be_null(member)
    ]
    if always:
        schema["required"] = always
    else:
        schema.pop("required", None)


def _describe_default(member: Schema) -> None:
    value = member.get("default")
    said = member.get("description", "")
    if value not in (None, "", [], {}) and "efault" not in said:
        member["description"] = f"{said} Default: {json.dumps(value)}.".strip()


def _leave_out_default(schema: Schema) -> None:
    """Parameters keep theirs, which generators need not send, unless it is an empty list."""
    for member in schema.get("properties", {}).values():
        member.pop("default", None)
    if schema.get("default", ...) in (None, [], {}):
        del schema["default"]


def _explain(document: Mapping[str, Any], glossary: Glossary) -> None:
    for schema_name, schema in document["components"]["schemas"].items():
        for name, member in schema.get("properties", {}).items():
            description, *examples = glossary.get(f"{schema_name}.{name}") or glossary.get(name) or ("",)
            if description:
                member.setdefault("description", description)
            _give_examples(member, examples)
    for _, operation in operations(document):
        for parameter in _parameters(operation):
            description, *examples = glossary.get(parameter["name"]) or ("",)
            if description:
                parameter.setdefault("description", description)
            _give_examples(parameter["schema"], examples)


def _give_examples(schema: Schema, examples: Sequence[Any]) -> None:
    is_list = "array" in schema.get("type", ())
    fitting = [one for one in examples if "anyOf" in schema or isinstance(one, list) == is_list]
    if fitting and not schema.keys() & {"$ref", "enum", "const", "examples"}:
        schema["examples"] = fitting


def _add_examples(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for member in schema.get("properties", {}).values():
            if "$ref" not in member:
                _add_example(member, schemas)
    for schema in schemas.values():
        _add_example(schema, schemas)
    for _, operation in operations(document):
        for parameter in _parameters(operation):
            _add_example(parameter["schema"], schemas)
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media in part.get("content", {}).values():
                example = example_of(media.get("schema", {}), schemas)
                if example is not None and "examples" not in media:
                    media.setdefault("example", example)


def _add_example(schema: Schema, schemas: Mapping[str, Schema]) -> None:
    if "examples" not in schema and "$ref" not in schema:
        example = example_of(schema, schemas)
        if example is not None:
            schema["examples"] = [example]


def example_of(schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    """An example of this schema: its own, or one that follows from it. None: nobody has given one."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(PREFIX)], schemas)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if choices := [one for key in _SEVERAL for one in schema.get(key, []) if one != NULL]:
        return example_of(choices[0], schemas)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "array":
        item = example_of(schema.get("items", {}), schemas)
        return None if item is None else [item]
    if kind == "object" and "properties" in schema:
        return _example_of_object(schema, schemas)
    if kind == "string":
        return _BY_FORMAT.get(schema.get("format", ""))
    return schema.get("minimum", _BY_TYPE.get(str(kind)))


def _example_of_object(schema: Schema, schemas: Mapping[str, Schema]) -> dict[str, Any] | None:
    """None when a member that has to be there has no example."""
    made: dict[str, Any] = {}
    for name, member in schema["properties"].items():
        if member.get("examples") == [None]:
            made[name] = None
            continue
        example = example_of(member, schemas)
        if example is not None:
            made[name] = example
        elif name in schema.get("required", ()):
            return None
    return made
