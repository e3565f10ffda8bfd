"""Whether a tenant may use the API: one rule, for the service that sells subscriptions and for all that ask.

Pure functions: the current time is an argument.
"""

from datetime import datetime, timedelta

ENTITLING_STATUSES = frozenset({"trialing", "incomplete", "active", "past_due"})
"""Statuses in which a tenant may use the API until `access_until`; the other statuses never entitle.

A purchase that is not paid yet (`incomplete`) keeps what is left of the trial.
"""

NO_OFFSET = timedelta()


def entitled(
    status: str | None, access_until: datetime | None, now: datetime, *, clock_offset: timedelta = NO_OFFSET
) -> bool:
    """Whether a tenant may use the API at this instant. A trial or period that has ended counts at once, before its event arrives.

    `clock_offset` is how far the tenant's test clock is ahead of `now`; zero for tenants without one.
    """
    if status not in ENTITLING_STATUSES:
        return False
    return access_until is None or now + clock_offset < access_until
