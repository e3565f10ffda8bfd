"""The rules of webhooks, without framework, clock or I/O."""
