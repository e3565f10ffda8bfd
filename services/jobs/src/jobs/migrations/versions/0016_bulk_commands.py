"""Commands for all jobs that match."""

from alembic import op

revision = "0016"
down_revision = "0015"

_STATEMENTS = (
    """
    CREATE TABLE job_commands (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        livemode boolean NOT NULL,
        command text NOT NULL,
        filters jsonb NOT NULL,
        arguments jsonb NOT NULL,
        dry_run boolean NOT NULL,
        status text NOT NULL,
        failure text,
        cursor text,
        matched bigint NOT NULL,
        changed bigint NOT NULL,
        unchanged bigint NOT NULL,
        refused bigint NOT NULL,
        refusals jsonb NOT NULL,
        created_by text NOT NULL,
        via text NOT NULL,
        subject_id text,
        credential_id text,
        credential_digest text,
        address text NOT NULL,
        request_id text NOT NULL,
        version bigint NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        finished_at timestamptz,
        CONSTRAINT pk_job_commands PRIMARY KEY (id),
        CONSTRAINT ck_job_commands_status CHECK (status IN ('running', 'completed', 'cancelled', 'failed')),
        CONSTRAINT ck_job_commands_finished CHECK ((status = 'running') = (finished_at IS NULL))
    )
    """,
    "CREATE INDEX ix_job_commands_running ON job_commands (tenant_id) WHERE status = 'running'",
    "CREATE INDEX ix_job_commands_finished ON job_commands (finished_at) WHERE finished_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
