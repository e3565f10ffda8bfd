"""What a person may do, and for which tenant: asked of identity every few seconds, and while it is away, as it said last."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache

from console.gateway import Answer, Api, Forbidden, Problem, Unauthorized
from console.sessions import BrowserSession

PERMISSIONS = "identity GET /v1/permissions"
TENANT = "identity GET /v1/tenant"
FRESH_SECONDS = 5.0
KEPT_SECONDS = 900.0
"""How long an answer stands in for identity while it is away. Services decide by their own data all the same."""
KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What the person may do, and for which tenant: what every page shows around its own content."""

    permissions: Mapping[str, Any]
    tenant: Mapping[str, Any]

    def holds(self, *codes: str) -> bool:
        """Whether the person has all of these permissions."""
        held = self.permissions.get("scopes", ())
        return all(code in held for code in codes)

    def lacks(self, codes: Sequence[str]) -> list[str]:
        """Those of these permissions that the person does not have; none while nothing is known: then the services decide."""
        return [code for code in codes if not self.holds(code)] if self.permissions else []

    @property
    def is_owner(self) -> bool:
        return bool(self.permissions.get("is_owner"))

    @property
    def is_merchant(self) -> bool:
        return self.permissions.get("principal") == "merchant"

    @property
    def subscription_status(self) -> str:
        """Empty where there is none, or none is known."""
        return (self.permissions.get("subscription") or {}).get("status") or ""

    @property
    def entitled(self) -> bool:
        subscription = self.permissions.get("subscription")
        return subscription is None or bool(subscription["entitled"])


UNKNOWN = Standing({}, {})
"""Nobody is signed in, or identity is away and has said nothing yet."""


@dataclass(frozen=True, slots=True)
class _Known:
    standing: Standing
    fresh_until: float
    ends_at: float
    """When identity's answer stands in for it no longer."""


class Standings:
    """The standings of the sessions that this process has seen of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: TTLCache[tuple[str, str | None], _Known] = TTLCache(KNOWN_MAX, KEPT_SECONDS, timer=clock)

    async def find(self, api: Api, session: BrowserSession) -> Standing:
        """What the person may do now, as of a few seconds ago. Raises `Unauthorized`, and `Forbidden` where all is refused."""
        tenant_id = api.tenant_id if session.is_operator else session.person.get("tenant_id")
        key = (session.cookie, tenant_id)
        known, now = self._known.get(key), self._clock()
        if known is not None and now < known.fresh_until:
            return known.standing
        asked = [api.identity.get("/v1/permissions")]
        if tenant_id is not None:
            asked.append(api.identity.get("/v1/tenant"))
        found = await asyncio.gather(*asked, return_exceptions=True)
        # They are the frame's, and no calls of the page.
        api.calls.clear()
        for one in found:
            if isinstance(one, Unauthorized | Forbidden) or not isinstance(one, Answer | Problem):
                raise one
        bodies = [one.body for one in found if isinstance(one, Answer)]
        now = self._clock()
        standing, ends_at = UNKNOWN, now
        if len(bodies) == len(asked):
            standing, ends_at = Standing(bodies[0], bodies[1] if tenant_id is not None else {}), now + KEPT_SECONDS
        elif known is not None and now < known.ends_at:
            # However often it is asked meanwhile: the time is that of the last answer.
            standing, ends_at = known.standing, known.ends_at
        fresh_until = now + FRESH_SECONDS if standing is UNKNOWN else min(now + FRESH_SECONDS, ends_at)
        self._known[key] = _Known(standing, fresh_until, ends_at)
        return standing

    def forget(self, session: BrowserSession) -> None:
        """Ask anew what a person may do."""
        for key in [key for key in self._known if key[0] == session.cookie]:
            self._known.pop(key, None)
