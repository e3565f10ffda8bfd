"""Who calls, and what they may do: credentials, principals, the access projection, and the decision that every request passes."""
