"""Authentication: logs people in and out, renews their sessions, accepts invitations and changes passwords."""

from identity.authentication.operations import (
    Authenticator,
    accept_invitation,
    change_password,
    log_in,
    log_out,
    reauthenticate,
    refresh,
)

__all__ = ["Authenticator", "accept_invitation", "change_password", "log_in", "log_out", "reauthenticate", "refresh"]
