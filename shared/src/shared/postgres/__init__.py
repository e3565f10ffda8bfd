"""PostgreSQL: transactions, advisory locks, LISTEN, partitions, column types, migrations."""
