"""Events between services over Kafka: outbox, relay, producer, consumers, dead letters, lag, topics."""
