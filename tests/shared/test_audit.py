"""The audit trail: what is stored of a change, and how it leaves its service."""

from datetime import UTC, datetime

from pydantic import BaseModel

from shared.audit.rules import differences


class View(BaseModel):
    """A record as an API shows it."""

    name: str
    headers: dict[str, str] = {}
    secret: str = "whsec_c2VjcmV0IHNlY3JldA=="
    updated_at: datetime = datetime(2030, 1, 31, tzinfo=UTC)
    version: int = 1


def test_only_fields_that_differ_are_stored() -> None:
    before = View(name="old", headers={"X-Shop": "1"})
    after = View(name="new", headers={"X-Shop": "1"}, secret="another", version=2)

    assert differences(before, after) == ({"name": "old"}, {"name": "new"})
    assert differences(None, after) == (None, {"name": "new", "headers": {"X-Shop": "[redacted]"}})
    assert differences(None, None) == (None, None)


def test_a_changed_header_is_stored_without_its_values() -> None:
    before = View(name="same", headers={"X-Shop": "sesame"})
    after = View(name="same", headers={"X-Shop": "open", "X-Other": "more"})

    assert differences(before, after) == (
        {"headers": {"X-Shop": "[redacted]"}},
        {"headers": {"X-Shop": "[redacted]", "X-Other": "[redacted]"}},
    )


def test_what_looks_like_a_secret_is_not_stored() -> None:
    given = {"url": "https://user:sesame@example.com", "note": "wbk_live_0123456789", "api_auth_key": "x", "count": 2}

    _, after = differences(None, given)

    assert after == {
        "url": "https://user:[redacted]@example.com",
        "note": "wbk_live_[redacted]",
        "api_auth_key": "[redacted]",
        "count": 2,
    }
