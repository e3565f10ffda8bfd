"""Who calls, and what they may: credentials, principals, the projection of access, and the one decision that every request passes."""
