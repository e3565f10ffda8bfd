"""The tables of the request log. Rows of both are kept for some days."""

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import FailedRequestId, TenantId
from shared.postgres.column_types import BigInt, Double, Instant, SmallInt, Text


class FailedRequestRow(Base, table=True):
    """A request with a credential that was answered with an error. Never updated."""

    __tablename__ = "failed_requests"
    __table_args__ = (
        Index("ix_failed_requests_page", "tenant_id", "at", "failed_request_id"),
        Index("ix_failed_requests_subject", "tenant_id", "subject_id", "at", "failed_request_id"),
        Index("ix_failed_requests_credential", "tenant_id", "credential_id", "at", "failed_request_id"),
    )

    failed_request_id: FailedRequestId = Field(primary_key=True)
    tenant_id: TenantId
    credential_id: Text
    subject_id: Text | None
    livemode: bool
    service: Text
    at: Instant
    method: Text
    path: Text
    status: SmallInt
    code: Text | None
    request_id: Text
    milliseconds: Double


class RequestCountRow(Base, table=True):
    """How many requests of a credential one process of a service has answered in an hour. The counts only grow."""

    __tablename__ = "request_counts"

    tenant_id: TenantId = Field(primary_key=True)
    credential_id: Text = Field(primary_key=True)
    hour: Instant = Field(primary_key=True, index=True)
    service: Text = Field(primary_key=True)
    process_id: UUID = Field(primary_key=True)
    subject_id: Text | None
    livemode: bool
    calls: BigInt
    errors: BigInt
