"""What the services have in common. It knows no service and no business rule of one."""
