"""Which of several reported uses of a credential counts."""

from collections.abc import Iterable
from datetime import datetime


def latest_uses(uses: Iterable[tuple[str, datetime]]) -> dict[str, datetime]:
    """The latest use of each credential, given (credential id, instant) in any order."""
    latest: dict[str, datetime] = {}
    for credential_id, used_at in uses:
        latest[credential_id] = max(used_at, latest.get(credential_id, used_at))
    return latest
