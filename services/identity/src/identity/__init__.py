"""Identity: tenants, people, merchants, locations, credentials, permissions, sessions and the audit trail."""
