CREATE TABLE tasks (
    task_id UUID NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    payload JSONB NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    lease_token UUID,
    set_aside_at TIMESTAMP WITH TIME ZONE,
    reason TEXT,
    CONSTRAINT pk_tasks PRIMARY KEY (task_id),
    CONSTRAINT uq_tasks_kind_key UNIQUE (kind, key)
);
CREATE INDEX ix_tasks_next ON tasks (kind, next_at) WHERE set_aside_at IS NULL;
CREATE INDEX ix_tasks_set_aside ON tasks (kind) WHERE set_aside_at IS NOT NULL;
-- Rows change a few times and go: vacuum by count rather than by share of the table, and give no space back (that would lock the table).
ALTER TABLE tasks SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
);
