"""E-mail changes: asked for by a person, or by an administrator, and in force once the mail to the new address was answered."""

from identity.email_changes.operations import confirm, request

__all__ = ["confirm", "request"]
