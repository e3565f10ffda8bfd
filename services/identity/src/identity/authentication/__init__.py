"""Authentication: logs people in and out, renews their sessions, asks for passwords again and changes them."""

from identity.authentication.operations import (
    change_password,
    end_session,
    log_in,
    log_out,
    log_out_everywhere,
    refresh,
)
from identity.authentication.queries import PersonRow, lock_person, lock_subject, recipient, view_person
from identity.authentication.reauthentication import reauthenticate, require_step_up, step_up
from identity.authentication.rules import check_tenant_active
from identity.authentication.schemas import PasswordAgain, Person
from identity.authentication.session_tokens import Authenticator, end_sessions

__all__ = [
    "Authenticator",
    "PasswordAgain",
    "Person",
    "PersonRow",
    "change_password",
    "check_tenant_active",
    "end_session",
    "end_sessions",
    "lock_person",
    "lock_subject",
    "log_in",
    "log_out",
    "log_out_everywhere",
    "reauthenticate",
    "recipient",
    "refresh",
    "require_step_up",
    "step_up",
    "view_person",
]
