"""What people see in a browser: pages on the public API, called with each person's own session."""
