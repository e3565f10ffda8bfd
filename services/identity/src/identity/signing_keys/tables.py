"""Keys that sign session tokens: the table."""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Text
from sqlmodel import Field

from identity import registry


class SigningKeyRow(registry.Base, table=True):
    """A key pair: the private half is sealed, the public half is published."""

    __tablename__ = "signing_keys"

    key_id: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(sa_column=registry.version())
    sealed_private_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    public_key: str = Field(sa_column=registry.words())
    signs_from: datetime = Field(sa_column=registry.instant())
    retires_at: datetime | None = Field(sa_column=registry.instant(nullable=True))
    created_at: datetime = Field(sa_column=registry.instant())
