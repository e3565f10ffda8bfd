"""JSON Merge Patch (RFC 7396) of a model: a member replaces, null removes, objects are patched recursively.

A patch is validated twice. First, each member must be valid for the field of the model, independent of the resource (`patch_schema`).
Then the patched members must be accepted by the model (`apply_patch`). Members that the patch omits are not validated, so a stored value
that is no longer valid does not block other changes.

Where a model is patched field by field, its patch is a `Patch`, whose members that are objects are read by `member_schema` and applied by
`patch_member`.
"""

import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from shared.api import Input
from shared.api.problems import pointer
from shared.errors import Violation, invalid
from shared.fields.metadata import METADATA_KEY_CHARS_MAX, METADATA_KEYS_MAX, METADATA_VALUE_CHARS_MAX, Metadata

MEDIA_TYPE = "application/merge-patch+json"

InputT = TypeVar("InputT", bound=Input)

METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)


def _leave_out_defaults(schema: dict[str, Any]) -> None:
    for member in schema.get("properties", {}).values():
        member.pop("default", None)


class Patch(Input):
    """Base of patches with a field for each member; those that are sent are in `model_fields_set`.

    Its schema has no defaults: a client that is generated from it would send them, and change what it was not told to.
    """

    model_config = ConfigDict(json_schema_extra=_leave_out_defaults)


def _metadata_members(value: object) -> object:
    if isinstance(value, dict):
        METADATA.validate_python({key: text for key, text in value.items() if text is not None})
        return value
    return METADATA.validate_python(value)


MetadataPatch = Annotated[
    dict[str, str | None] | None,
    PlainValidator(lambda value: None if value is None else _metadata_members(value)),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "maxProperties": METADATA_KEYS_MAX,
                    "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_CHARS_MAX},
                    "additionalProperties": {
                        "anyOf": [{"type": "string", "maxLength": METADATA_VALUE_CHARS_MAX}, {"type": "null"}]
                    },
                },
                {"type": "null"},
            ]
        }
    ),
]
"""Metadata keys to set; null removes a key."""


def patch_schema(
    name: str,
    model: type[Input],
    *,
    example: Mapping[str, object],
    instead: Mapping[str, Any],
    refused: Mapping[str, str],
) -> GetPydanticSchema:
    """The schema of a patch of this model, with `name` in OpenAPI. A `dict` field with it holds the members in their stored form.

    `instead` has other types for some members. `refused` has members that no patch may contain, each with the message of the refusal.
    """
    fields: dict[str, Any] = {
        member: (instead.get(member) or _patch_type(field), _patch_field(field))
        for member, field in model.model_fields.items()
        if member not in refused
    }
    for member, reason in refused.items():
        fields[member] = (_refused(reason), Field(default_factory=_absent))
    patch = create_model(
        name,
        __base__=Input,
        __doc__="A patch: an omitted member stays, null removes it, an object is patched member by member.",
        __cls_kwargs__={"json_schema_extra": {"examples": [dict(example)]}},
        **fields,
    )
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(_members, handler.generate_schema(patch))
    )


def member_schema(model: type[Input]) -> GetPydanticSchema:
    """The schema of a member of a `Patch` that is such an object. A `dict` field with it holds the members in their stored form."""
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            _members, handler.generate_schema(_patch_model(model))
        )
    )


def patch_member(
    name: str, kind: TypeAdapter[Any], present: Mapping[str, Any] | None, patch: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The patched member in its stored form; None when the patch removes it. Raises `Invalid` with all violations."""
    if patch is None:
        return None
    merged = merge(present or {}, patch)
    try:
        stored: dict[str, Any] = kind.dump_python(kind.validate_python(merged), mode="json", exclude_none=True)
    except ValidationError as error:
        raise invalid(*_violations(error, name)) from error
    return stored


def merge_patch_body(name: str) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body is this patch: its own media type is accepted, too."""
    return {"requestBody": {"content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}}


def apply_patch(model: type[Input], present: BaseModel, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a patch to the present value; returns the patched members in their stored form.

    A removed member gets the default of the model. Raises `Invalid` with all violations.
    """
    merged = merge(as_document(model, present), patch)
    checked = model.model_construct()
    violations = []
    for member in patch:
        field = model.model_fields[member]
        without = None if field.is_required() else field.get_default(call_default_factory=True)
        try:
            model.__pydantic_validator__.validate_assignment(checked, member, merged.get(member, without))
        except ValidationError as error:
            violations += _violations(error)
    if violations:
        raise invalid(*violations)
    return {member: _stored(getattr(checked, member)) for member in patch}


def parse_document(model: type[InputT], document: Mapping[str, Any]) -> InputT:
    """Validate a document. Raises `Invalid` with all violations."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(*_violations(error)) from error


def as_document(model: type[Input], present: BaseModel) -> dict[str, Any]:
    """The present value as a document that the model accepts."""
    return present.model_dump(mode="json", exclude_none=True, include=set(model.model_fields))


def merge(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the patch applied."""
    merged = dict(document)
    for member, value in patch.items():
        if value is None:
            merged.pop(member, None)
        elif isinstance(value, Mapping):
            present = merged.get(member)
            merged[member] = merge(present if isinstance(present, Mapping) else {}, value)
        else:
            merged[member] = value
    return merged


def _violations(error: ValidationError, *place: str) -> list[Violation]:
    return [Violation(pointer((*place, *found["loc"])), found["type"], found["msg"]) for found in error.errors()]


def _members(patch: BaseModel) -> dict[str, Any]:
    return patch.model_dump(mode="json", exclude_unset=True)


def _stored(value: object) -> object:
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value


def _patch_type(field: FieldInfo) -> Any:
    """The type of a member in a patch: that of its field, or null unless the field is required."""
    kind = _nested_patch_type(field.annotation)
    if field.metadata:
        kind = Annotated[kind, *field.metadata]
    return Annotated[kind, BeforeValidator(_require_value)] if field.is_required() else kind | None


def _nested_patch_type(annotation: Any) -> Any:
    """The annotation, with models replaced by their patch models."""
    if isinstance(annotation, type) and issubclass(annotation, Input):
        return _patch_model(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(_nested_patch_type(member) for member in get_args(annotation))]  # noqa: UP007
    return annotation


@cache
def _patch_model(model: type[Input]) -> type[Input]:
    fields: dict[str, Any] = {
        member: (_patch_type(field), _patch_field(field)) for member, field in model.model_fields.items()
    }
    name = model.__name__.removesuffix("In") + "Patch"
    return create_model(name, __base__=Input, __doc__=model.__doc__, **fields)


def _patch_field(field: FieldInfo) -> Any:
    # A factory, so that OpenAPI shows no default: an omitted member is not null, it stays.
    return Field(default_factory=_absent, description=field.description)


def _absent() -> None:
    return None


def _require_value(value: object) -> object:
    if value is None:
        raise PydanticCustomError("required", "cannot be removed")
    return value


def _refused(reason: str) -> Any:
    def refuse(_: object) -> object:
        raise PydanticCustomError("not_patchable", "{reason}", {"reason": reason})

    return Annotated[Any, SkipJsonSchema(), BeforeValidator(refuse)]  # type: ignore[type-arg]
