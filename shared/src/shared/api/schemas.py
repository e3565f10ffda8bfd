"""Base models of requests and of responses that hold a secret."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, WithJsonSchema, model_validator


class Input(BaseModel):
    """Base of request models: unknown fields are refused, text is stripped, numbers are finite."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class ListQuery(Input):
    """Base of the query parameters of a list, without `limit` and `cursor`."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_paging(cls, given: Any) -> Any:
        # All other unknown names are refused: they are probably misspelt filters.
        return {name: value for name, value in given.items() if name not in ("limit", "cursor")}


def shown_as(kind: Any) -> WithJsonSchema:
    """Let OpenAPI show a text as this closed set (a `Literal`). It is not checked: another service, perhaps a newer one, has told it."""
    return WithJsonSchema({"type": "string", "enum": list(get_args(kind))})


class Secret(BaseModel):
    """Base of responses that hold a secret: `Cache-Control: no-store`, and never stored for an Idempotency-Key."""

    @property
    def no_store(self) -> bool:
        """Whether this response holds its secret."""
        return True
