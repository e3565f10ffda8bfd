"""The parts of every process: settings, HTTP application, background parts, server, health. Without a database and without Kafka."""
