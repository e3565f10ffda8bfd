"""What the console says of a problem's code, in the reader's language; a code without a sentence is shown with the words of the service."""

from console.gateway import Problem
from console.i18n import gettext, mark

SENTENCES = {
    "credentials_wrong": mark("The company, the e-mail address or the password is wrong."),
    "second_factor_required": mark("Enter the code of your authenticator app, or a recovery code."),
    "second_factor_wrong": mark("This code is wrong, or was used before."),
    "step_up_code_required": mark("Enter the code of your authenticator app, too."),
    "reauthentication_failed": mark("The password or the code is wrong."),
    "too_many_attempts": mark("Too many attempts. Please wait."),
    "invitation_not_found": mark("This invitation is not valid any more: ask for another one."),
    "password_reset_not_found": mark("This link is not valid any more: ask for another one."),
    "email_change_not_found": mark("This link is not valid any more: ask for another one."),
    "overloaded": mark("Too many people are signing in right now. Try again in a moment."),
    "own_account": mark("This is your own account."),
    "owner_required": mark("Only the owner can do this."),
    "permission_not_held": mark("You can give only permissions that you have yourself."),
    "session_not_found": mark("This session has ended already."),
    "tenant_suspended": mark("Your company is suspended. Ask whoever runs this Waybill."),
    "tenant_closed": mark("Your company is closed."),
    "permission_missing": mark("Your account lacks a permission for this."),
    "email_taken": mark("This e-mail address is in use already."),
    "name_taken": mark("This name is in use already."),
    "missing": mark("This is needed."),
    "string_too_short": mark("This is too short."),
    "string_too_long": mark("This is too long."),
    "password_too_common": mark("This password is too common."),
    "blank": mark("This is needed."),
}


def sentence(code: str, otherwise: str) -> str:
    """What to say of a code."""
    known = SENTENCES.get(code)
    return gettext(known) if known else otherwise


def of_problem(problem: Problem) -> str:
    """What to say of a problem."""
    return sentence(problem.code, problem.detail)
