"""What every process is made of: settings, parts, server, health. It knows neither a database nor Kafka."""
