"""PostgreSQL: connections and transactions, what tables are made with, migrations, and which errors pass."""
