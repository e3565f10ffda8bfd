"""Names, secrets and request bodies that no other test uses."""

import base64
import itertools
import secrets
from typing import Any

from shared.access.signing_roots import SigningRoot

PASSWORD = "correct horse battery staple"
HOSTILE = "<img src=x onerror=alert(1)> \"'</script> {{ 7*7 }}"
"""A text that is more than one where it is not shown as one."""

_numbers = itertools.count(1)


SIGNING_ROOT = SigningRoot(b"the root key of all these tests!")
SIGNING_ROOT_KEY = base64.b64encode(b"the root key of all these tests!").decode()


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word} {next(_numbers)} {secrets.token_hex(4)}"


def email(word: str = "person") -> str:
    """An address that no other test uses."""
    return f"{word}-{secrets.token_hex(6)}@example.com"


def secret_32() -> str:
    """32 random bytes, in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def tenant_body(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "country": "CA",
        "timezone": "America/Montreal",
        "currency": "CAD",
        "owner": {"email": email("owner"), "first_name": "Odile", "last_name": "Owner"},
        **more,
    }


def location_body(**more: Any) -> dict[str, Any]:
    return {"name": unique("Montréal"), **more}


def merchant_body(location_id: str, **more: Any) -> dict[str, Any]:
    """A merchant of level 2 that can log in."""
    return {
        "business_name": unique("Boulangerie"),
        "login_email": email("merchant"),
        "level": 2,
        "location_ids": [location_id],
        "password": PASSWORD,
        **more,
    }


def staff_body(*permissions: str) -> dict[str, Any]:
    """A member of staff with a password."""
    return {
        "email": email("staff"),
        "first_name": "Sam",
        "last_name": "Staff",
        "permissions": list(permissions),
        "password": PASSWORD,
    }


def smallest_job(**more: Any) -> dict[str, Any]:
    """The smallest job for a merchant with a default location."""
    return {
        "contact": {"first_name": "Ada", "phone": "+15145550100"},
        "address": {"raw": "1 Rue Sherbrooke, Montréal"},
        **more,
    }
