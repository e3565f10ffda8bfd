"""Signing keys: the keys that sign session tokens, one at a time."""

from identity.signing_keys.operations import Signer, rotate
from identity.signing_keys.tables import SigningKeyRow

__all__ = ["Signer", "SigningKeyRow", "rotate"]
