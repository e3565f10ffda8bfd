"""Publishes the stored audit events on `audit.events.v1`, where identity stores them, and drops their table."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ROWS_MAX = 1000
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

_READ = sa.text("SELECT * FROM audit_events WHERE id > :last ORDER BY id LIMIT :rows_max")
_READ_KINDS = sa.text("SELECT subject_id, kind FROM access_subjects WHERE subject_id = ANY(:ids)")
_WRITE = sa.text(
    """
    INSERT INTO outbox (shard, topic, key, headers, value)
    VALUES (16, 'audit.events.v1', :key, CAST(:headers AS jsonb), :value)
    """
)


def upgrade() -> None:
    connection = op.get_bind()
    # Before the first row is read, so that none is written after the last.
    op.execute("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
    last = 0
    while rows := connection.execute(_READ, {"last": last, "rows_max": ROWS_MAX}).mappings().all():
        ids = {_uuid_of(row["actor"]) for row in rows if row["actor"].startswith("usr_")}
        people = connection.execute(_READ_KINDS, {"ids": sorted(ids)}).all()
        kinds = {_typed("usr", person.subject_id.int): person.kind for person in people}
        connection.execute(_WRITE, [_event(row, kinds) for row in rows])
        last = rows[-1]["id"]
    op.drop_table("audit_events")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")


def _event(row: Mapping[Any, Any], kinds: Mapping[str, str]) -> dict[str, object]:
    tenant_id = _typed("ten", row["tenant_id"].int)
    # A person's own keys act as the person, so this is a platform key.
    is_key = row["actor"].startswith("key_")
    state = {
        "audit_id": _typed("aud", _new_number(row["at"])),
        "service": "webhooks",
        "tenant_id": tenant_id,
        "at": row["at"].isoformat(),
        "actor": row["actor"],
        "actor_kind": "platform" if is_key else kinds.get(row["actor"], "unknown"),
        "via": "platform_key" if is_key else "unknown",
        "credential_id": row["actor"] if is_key else None,
        "address": "",
        "request_id": "",
        "action": row["action"],
        "target": row["subject"],
        "before": None,
        "after": None,
    }
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", _typed("evt", _new_number(row["at"]))),
        ("ce_type", "audit.recorded"),
        ("ce_source", "waybill/audit"),
        ("ce_time", row["at"].isoformat()),
        ("ce_subject", row["subject"]),
        ("ce_sequence", "0"),
        ("content-type", "application/json"),
        ("ce_tenantid", tenant_id),
    ]
    return {"key": row["subject"], "headers": json.dumps(headers), "value": json.dumps(state).encode()}


def _new_number(at: datetime) -> int:
    """A new UUID of version 7, made at this instant."""
    milliseconds = int(at.timestamp() * 1000)
    return milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)


def _typed(prefix: str, number: int) -> str:
    """A typed id: the UUID as 26 digits of 5 bits."""
    return f"{prefix}_{''.join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))}"


def _uuid_of(typed_id: str) -> UUID:
    """The UUID of a typed id."""
    number = 0
    for digit in typed_id.rpartition("_")[2]:
        number = number << 5 | _DIGITS.index(digit)
    return UUID(int=number)
