"""Who calls, and what they may: credentials, projections of access, and the one decision that every request passes."""
