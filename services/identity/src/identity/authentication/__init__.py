"""Authentication: logs people in and out, renews their sessions, accepts invitations and changes passwords."""

from identity.authentication.operations import (
    Authenticator,
    accept_invitation,
    change_password,
    end_session,
    log_in,
    log_out,
    log_out_everywhere,
    reauthenticate,
    refresh,
    require_step_up,
    step_up,
)

__all__ = [
    "Authenticator",
    "accept_invitation",
    "change_password",
    "end_session",
    "log_in",
    "log_out",
    "log_out_everywhere",
    "reauthenticate",
    "refresh",
    "require_step_up",
    "step_up",
]
