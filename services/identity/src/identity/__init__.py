"""Identity: tenants, users, merchants, locations, credentials, permissions, sessions and the audit trail."""
