"""Publishes the stored audit events on `audit.events.v1`, where identity stores them, and drops their table."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ROWS_MAX = 1000
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

_READ = sa.text("SELECT * FROM audit_events WHERE id > :last ORDER BY id LIMIT :rows_max")
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
        connection.execute(_WRITE, [_event(row) for row in rows])
        last = rows[-1]["id"]
    op.drop_table("audit_events")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")


def _event(row: Mapping[Any, Any]) -> dict[str, object]:
    tenant_id = _typed("ten", row["tenant_id"].int)
    is_key = row["actor"].startswith("key_")
    state = {
        "audit_id": _typed("aud", _new_number(row["at"])),
        "service": "billing",
        "tenant_id": tenant_id,
        "at": row["at"].isoformat(),
        "actor": row["actor"],
        # Only platform keys could do what was audited.
        "actor_kind": "platform" if is_key else "unknown",
        "via": "platform_key" if is_key else "unknown",
        "credential_id": row["actor"] if is_key else None,
        "address": row["address"] or "",
        "request_id": "",
        "action": row["action"],
        "target": row["subject"],
        "before": row["before"],
        "after": row["after"],
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
