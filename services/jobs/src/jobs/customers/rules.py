"""Ids of customers."""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared.errors import Violation, invalid

_PREFIX = "cus_"


Owner = tuple[str, bool]
"""Tenant id and livemode: a customer id is valid for one owner."""


class CustomerIds:
    """Ids of customers: the customer's key, encrypted so that equal keys have equal ids. So no URL contains a phone number."""

    def __init__(self, secret: bytes):
        self._cipher = AESSIV(hashlib.blake2b(secret, digest_size=64, person=b"customer-ids").digest())

    def id_of(self, key: str, owner: Owner) -> str:
        """The id of the customer with this key."""
        encrypted = self._cipher.encrypt(key.encode(), _context(owner))
        return _PREFIX + base64.urlsafe_b64encode(encrypted).decode().rstrip("=")

    def key_of(self, customer_id: str, owner: Owner) -> str:
        """The key of the customer with this id. Raises `Invalid` if the id was not made for this owner."""
        encoded = customer_id.removeprefix(_PREFIX)
        try:
            encrypted = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            key = self._cipher.decrypt(encrypted, _context(owner)).decode()
            if self.id_of(key, owner) == customer_id:
                return key
        except (binascii.Error, ValueError, InvalidTag):
            pass
        violation = Violation("/customer_id", "customer_id_form", "not the id of a customer of this account")
        raise invalid(violation)


def _context(owner: Owner) -> list[bytes]:
    """The associated data of an encrypted key."""
    tenant_id, livemode = owner
    return [tenant_id.encode(), b"live" if livemode else b"test"]
