"""The keys that sign session tokens."""

from identity.signing_keys.operations import Signer, rotate
from identity.signing_keys.tables import SigningKeyRow

__all__ = ["Signer", "SigningKeyRow", "rotate"]
