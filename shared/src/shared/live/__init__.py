"""Live notices: which records have changed, for those who have them open in a page.

A notice is a hint, not an event: it has names of records and nothing of their content, it may come twice, and it may be lost. Whoever hears
one reads again by the API, which decides anew what may be seen; after a gap everything counts as changed.

`announce` in a transaction, or `Announcer.note` after an autocommit → `Announcer` (NOTIFY) → `Hub` (LISTEN) → `Subscription`.
"""

from shared.live.announcer import Announcer, Audience, announce
from shared.live.hub import Changes, Hub, Subscription

__all__ = ["Announcer", "Audience", "Changes", "Hub", "Subscription", "announce"]
