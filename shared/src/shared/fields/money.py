"""Currencies."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from shared.fields.code_lists import CURRENCIES


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "expected an ISO 4217 currency in capitals, such as CAD")
    return value


Currency = Annotated[
    str,
    AfterValidator(_currency),
    Field(description="ISO 4217, in capitals.", examples=["CAD"], json_schema_extra={"pattern": "^[A-Z]{3}$"}),
]
