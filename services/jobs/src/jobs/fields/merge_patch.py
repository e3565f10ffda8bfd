"""JSON Merge Patch (RFC 7396) of a model: a named member replaces, null removes, objects are patched recursively.

A patch is checked twice. First each named value must be one that the model's field could hold, whatever the resource is. Then the named
members, as they would be after the patch, must be accepted by the model. Members that the patch leaves out are not checked, so what was
accepted once never blocks a change elsewhere.
"""

import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
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

from jobs.fields.schemas import METADATA_KEY_CHARS_MAX, METADATA_KEYS_MAX, METADATA_VALUE_CHARS_MAX, Metadata
from shared.api import Input
from shared.api.problems import pointer
from shared.errors import Violation, invalid

MEDIA_TYPE = "application/merge-patch+json"

InputT = TypeVar("InputT", bound=Input)

_METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)


def _metadata_members(value: object) -> object:
    if isinstance(value, dict):
        _METADATA.validate_python({key: text for key, text in value.items() if text is not None})
        return value
    return _METADATA.validate_python(value)


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
"""Keys to set, and with null those to remove."""


def patch_schema(
    name: str,
    model: type[Input],
    *,
    example: Mapping[str, object],
    instead: Mapping[str, Any],
    refused: Mapping[str, str],
) -> GetPydanticSchema:
    """Makes a `dict` field hold a patch of this model, published under this name: the members named, each in its stored form or null.

    `instead` gives other types for some members; `refused` are members that no patch may name, each with the reason that is told.
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
        __doc__="What is to change: a member that is left out stays, null removes it, an object is patched member by member.",
        __cls_kwargs__={"json_schema_extra": {"examples": [dict(example)]}},
        **fields,
    )
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(_members, handler.generate_schema(patch))
    )


def merge_patch_body(name: str) -> dict[str, Any]:
    """For the `openapi_extra` of a route whose body is the patch of this name: that its own media type is accepted, too."""
    return {"requestBody": {"content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}}


def apply_patch(model: type[Input], known: BaseModel, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The members that the patch names as they are to be stored, once it is applied to what is known.

    A member that is removed becomes what the model has for one that is left out. Raises `Invalid` with all that the model refuses.
    """
    merged = merge(as_document(model, known), patch)
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
    """What a document asks for. Raises `Invalid` with all that the model refuses."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(*_violations(error)) from error


def as_document(model: type[Input], known: BaseModel) -> dict[str, Any]:
    """What is known, as a client would ask for it."""
    return known.model_dump(mode="json", exclude_none=True, include=set(model.model_fields))


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


def _violations(error: ValidationError) -> list[Violation]:
    return [Violation(pointer(found["loc"]), found["type"], found["msg"]) for found in error.errors()]


def _members(patch: BaseModel) -> dict[str, Any]:
    return patch.model_dump(mode="json", exclude_unset=True)


def _stored(value: object) -> object:
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value


def _patch_type(field: FieldInfo) -> Any:
    """The type of a member in a patch: what its field holds, or null where the field can be left out."""
    kind = _nested_patch_type(field.annotation)
    if field.metadata:
        kind = Annotated.__class_getitem__((kind, *field.metadata))  # type: ignore[attr-defined]
    return Annotated[kind, BeforeValidator(_require_value)] if field.is_required() else kind | None


def _nested_patch_type(annotation: Any) -> Any:
    """The annotation with patches of models in place of the models themselves."""
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
    # A factory, so that no default is published: what is left out is not null but stays as it is.
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
