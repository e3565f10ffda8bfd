"""Bases of what clients send and of answers that hold a secret."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """Base of what clients send: unknown fields are refused, text is stripped, numbers are finite."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Secret(BaseModel):
    """Base of answers that hold a secret: `Cache-Control: no-store`, and never kept for an Idempotency-Key."""

    no_store: ClassVar[bool] = True
