-- The shard of the events that are kept apart from all others.
INSERT INTO outbox_shards (shard) VALUES (16) ON CONFLICT DO NOTHING;
