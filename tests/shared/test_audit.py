"""The audit trail: what is stored of a change, and how it leaves its service."""

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import BaseModel

from shared import audit
from shared.access.principals import Caller, Principal
from shared.audit import Actor, Origin
from shared.audit.rules import differences
from shared.ids import new_id
from shared.messaging import outbox
from shared.postgres.database import Database
from tests.harness.services import waiting_audit_events


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


async def test_an_audit_event_is_published_with_its_change_or_not_at_all(database: Database) -> None:
    outbox.attach(database, None)
    tenant_id, key_id, target = new_id("ten"), new_id("key"), new_id("ep")
    principal = Principal(credential_id=key_id, tenant_id=tenant_id)
    actor = Actor(
        Caller("platform", "platform_key", principal, frozenset(), livemode=True), Origin("192.0.2.1", "req_1")
    )

    with suppress(LookupError):
        async with database.transaction() as session:
            audit.record(session, actor, "endpoint.updated", target)
            raise LookupError
    async with database.transaction() as session:
        audit.record(session, actor, "endpoint.updated", target, before=View(name="old"), after=View(name="new"))
        audit.record_service(session, "endpoint.disabled", target, tenant_id=tenant_id)
        audit.record_person(
            session,
            audit.NOWHERE,
            tenant_id=None,
            actor=(key_id, "operator", "command"),
            action="credential.issued",
            target=key_id,
        )

    updated, disabled, issued = [event.data for event in await waiting_audit_events(database)]
    assert (updated.actor, updated.actor_kind, updated.via, updated.credential_id) == (
        key_id,
        "platform",
        "platform_key",
        key_id,
    )
    assert (updated.tenant_id, updated.address, updated.request_id) == (tenant_id, "192.0.2.1", "req_1")
    assert (updated.before, updated.after) == ({"name": "old"}, {"name": "new"})
    assert (disabled.actor, disabled.actor_kind, disabled.via) == (disabled.service, "service", "service")
    assert (issued.tenant_id, issued.actor_kind, issued.via, issued.address) == (None, "operator", "command", "")
