"""Standard Webhooks signatures and their keys."""

from webhooks.signatures.rules import (
    Signer,
    format_public_key,
    format_secret,
    new_secret,
    new_signing_key,
    signing_key,
)

__all__ = [
    "Signer",
    "format_public_key",
    "format_secret",
    "new_secret",
    "new_signing_key",
    "signing_key",
]
