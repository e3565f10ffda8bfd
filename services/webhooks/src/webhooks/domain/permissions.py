"""The permissions that webhooks' routes ask for."""

READ = "settings.webhooks.read"
WRITE = "settings.webhooks.write"
REPLAY = "settings.webhooks.replay"
