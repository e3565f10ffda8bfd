"""The table of the keys that sign session tokens."""

from sqlmodel import Field

from identity.registry import Base
from shared.postgres.column_types import BigInt, Instant, Text


class SigningKeyRow(Base, table=True):
    """A key pair: the private key is encrypted, the public key is published."""

    __tablename__ = "signing_keys"

    key_id: Text = Field(primary_key=True)
    version: BigInt
    sealed_private_key: bytes
    public_key: Text
    signs_from: Instant
    retires_at: Instant | None
    created_at: Instant
    proof: Text | None = None
    """The root key's, for this version."""
