"""Which lifetimes of sessions a tenant may choose: no longer than the operator allows."""

from dataclasses import dataclass

from shared.errors import Invalid, Violation


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The longest lives of a session and of its tokens, which are also the defaults."""

    token_seconds: int
    days: int


def check_lifetimes(token_seconds: int | None, days: int | None, limits: SessionLimits) -> None:
    """Raises `Invalid` for what is longer than the operator allows; None: the default."""
    violations = []
    for pointer, value, longest in (
        ("/session_token_seconds", token_seconds, limits.token_seconds),
        ("/session_days", days, limits.days),
    ):
        if value is not None and value > longest:
            violations.append(Violation(pointer, "less_than_equal", f"the operator allows {longest} at most"))
    if violations:
        raise Invalid("the lifetimes are not acceptable: see errors", *violations)
