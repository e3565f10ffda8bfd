"""Password resets: a token is mailed to whoever asks for an account, and sets a new password once.

Who asks hears the same, after the same work, whether the account exists or not: the request writes a task, and the look-up is the worker's.
"""

from identity.password_resets.operations import RESET_REQUEST, confirm, mail_reset, request

__all__ = ["RESET_REQUEST", "confirm", "mail_reset", "request"]
