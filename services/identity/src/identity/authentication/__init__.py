"""Authentication: logs people in and out, renews their sessions, accepts invitations and changes passwords."""

from identity.authentication.operations import (
    accept_invitation,
    change_password,
    end_session,
    log_in,
    log_out,
    log_out_everywhere,
    refresh,
)
from identity.authentication.queries import PersonRow, lock_subject, view_person
from identity.authentication.reauthentication import reauthenticate, require_step_up, step_up
from identity.authentication.schemas import PasswordAgain
from identity.authentication.session_tokens import Authenticator, end_sessions

__all__ = [
    "Authenticator",
    "PasswordAgain",
    "PersonRow",
    "accept_invitation",
    "change_password",
    "end_session",
    "end_sessions",
    "lock_subject",
    "log_in",
    "log_out",
    "log_out_everywhere",
    "reauthenticate",
    "refresh",
    "require_step_up",
    "step_up",
    "view_person",
]
