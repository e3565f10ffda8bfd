"""Authenticates and authorizes callers from this service's own access projection, without a call to another service.

A cache holds principals for a short time; NOTIFY drops what has changed. When the projection cannot prove for too long that it has
caught up with its topics, requests are refused with 503.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cachetools import TTLCache
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access import authorization, credentials, projection, tokens
from shared.access.last_used import LastUsedTracker
from shared.access.principal_store import Lookup, load_principal, load_principals, lookup_of
from shared.access.principals import Caller, PresentedCredentials, Principal, RouteAccess, Via
from shared.access.receipts import ReceiptReporter
from shared.access.signing_roots import SigningKeyFacts, SigningRoots
from shared.errors import Unauthenticated, Unavailable, WaybillError
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_reading
from shared.postgres.listener import Listener

CACHED_MAX = 50_000
TOKENS_CACHED_MAX = 20_000
REFRESH_SECONDS = 1.0
KEY_LOOKUPS_MAX = 20
"""Unknown ids of signing keys that are looked up within `KEY_LOOKUP_SECONDS`; the periodic refresh finds new keys all the same."""
KEY_LOOKUP_SECONDS = 1.0

_ACCOUNT_ID = re.compile(r"acct_[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)

# For the driver: they are asked every second.
_SIGNING_KEYS = """
    SELECT key_id, version, public_key, retires_at, proof FROM access_signing_keys
    WHERE retires_at IS NULL OR retires_at > now()
"""
_PROGRESS = "SELECT topic, caught_up_at FROM consumer_progress WHERE consumer = $1"


class Access:
    """Decides who may do what in one service. The consumption of `topics` must be proven to be up to date."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        topics: Sequence[str],
        peppers: credentials.Peppers,
        roots: SigningRoots,
        last_used: LastUsedTracker,
        receipts: ReceiptReporter | None,
        metrics: Metrics,
        cache_ttl_seconds: float,
        max_staleness_seconds: float,
    ):
        self._database = database
        self._service = service
        self._topics = tuple(topics)
        self._peppers = peppers
        self._roots = roots
        self._last_used = last_used
        self._receipts = receipts
        self._max_staleness_seconds = max_staleness_seconds
        self._caught_up_at: dict[str, datetime] = {}
        self._public_keys: dict[str, Ed25519PublicKey] = {}
        self._proven: list[tuple[Any, ...]] = []
        """The rows of signing keys that a root has proven."""
        self._cache_ttl_seconds = cache_ttl_seconds
        self._cache: TTLCache[Lookup, tuple[float, Principal | None]] = TTLCache(CACHED_MAX, cache_ttl_seconds)
        self._loading: dict[Lookup, tuple[float, asyncio.Task[Principal | None]]] = {}
        self._key_lookups: TTLCache[str, asyncio.Task[None]] = TTLCache(KEY_LOOKUPS_MAX, KEY_LOOKUP_SECONDS)
        self._tokens: TTLCache[str, tokens.Claims] = TTLCache(TOKENS_CACHED_MAX, 60)
        self._tenant_changed_at: TTLCache[str, float] = TTLCache(CACHED_MAX, cache_ttl_seconds * 4)
        self.watchers: list[Callable[[str], None]] = []
        """Told of each change, as `forget` is: those who do not ask again by themselves."""
        self.on_older_digest: Callable[[str, str], None] | None = None
        """Told of each credential whose key was verified with an older pepper, with the key."""
        self._changed_at = 0.0
        self._all_changed_at = 0.0
        self._staleness = metrics.gauge(
            "waybill_access_staleness_seconds", "Age of the last proof that access data are current."
        )

    async def caller(self, presented: PresentedCredentials, route: RouteAccess, now: datetime) -> Caller:
        """The caller, if it may use this route. Raises the first error in the order of the decision (`shared.access.authorization`)."""
        if presented.authorization is None and presented.api_key is None:
            raise _refused("no credentials were presented", "credentials_missing")
        if presented.authorization is not None and presented.api_key is not None:
            raise _refused("present one credential, not two", "credentials_ambiguous")
        self._require_fresh(now)
        caller = replace(await self._identify(presented, now), route=route)
        authorization.check_admission(caller, route, now)
        if caller.credential_id is not None:
            # Before the permission is checked: a credential without it is in use, too.
            self._last_used.note(caller.credential_id, now, former_key=caller.uses_former_key)
        authorization.check_permission(caller, route)
        authorization.check_session(caller, route, now)
        return caller

    async def recheck(self, session: AsyncSession, caller: Caller) -> Caller:
        """The caller as this transaction sees it: access may have ended since the request was admitted.

        Raises `Unauthenticated`, `Forbidden`, `PaymentRequired` or `Unavailable`.
        """
        (current,) = await self.recheck_all(session, [caller])
        if isinstance(current, WaybillError):
            raise current
        return current

    async def recheck_all(self, session: AsyncSession, callers: Sequence[Caller]) -> list[Caller | WaybillError]:
        """`recheck` for several callers: the caller, or the error if its access has ended. One query serves all API credentials."""
        lookups = [lookup_of(caller) for caller in callers]
        principals = await load_principals(session, set(lookups), self._peppers)
        now = datetime.now(UTC)
        return [_rechecked(caller, principals[lookup], now) for caller, lookup in zip(callers, lookups, strict=True)]

    def staleness_seconds(self, now: datetime) -> float:
        """Age of the oldest proof that a topic has been applied completely; infinite before the first."""
        if any(topic not in self._caught_up_at for topic in self._topics):
            return float("inf")
        return max((now - self._caught_up_at[topic]).total_seconds() for topic in self._topics) if self._topics else 0.0

    def is_current(self, now: datetime) -> bool:
        """True unless the last proof is too old to decide by."""
        return self.staleness_seconds(now) <= self._max_staleness_seconds

    def _require_fresh(self, now: datetime) -> None:
        if not self.is_current(now):
            raise Unavailable("access data cannot be shown to be current", code="access_stale", retry_after_seconds=5)

    async def _identify(self, presented: PresentedCredentials, now: datetime) -> Caller:
        if presented.api_key is not None:
            return await self._by_api_key(presented, presented.api_key, now)
        assert presented.authorization is not None
        scheme, _, value = presented.authorization.partition(" ")
        match scheme.lower():
            case "basic":
                return await self._by_api_credentials(presented, value.strip(), now)
            case "bearer":
                return await self._by_session_token(value.strip(), now)
            case _:
                raise _refused("use Basic, Bearer or X-Api-Key", "scheme_unknown")

    async def _by_api_credentials(self, presented: PresentedCredentials, encoded: str, now: datetime) -> Caller:
        try:
            account_id, key = credentials.read_basic(encoded)
        except ValueError as error:
            raise _refused("the Basic credentials cannot be read", "credentials_malformed") from error
        if not credentials.is_well_formed(key) or _ACCOUNT_ID.fullmatch(account_id) is None:
            raise _refused("wrong API Account ID or API Auth Key", "credentials_wrong")
        principal = await self._principal(Lookup("account", account_id))
        digests = () if principal is None else self._matching_digests(key, principal, now)
        if principal is None or not digests:
            raise _refused("wrong API Account ID or API Auth Key", "credentials_wrong")
        presented.on_verified(principal)
        return authorization.caller_for("pair", principal, livemode=principal.livemode, key_digests=digests)

    async def _by_api_key(self, presented: PresentedCredentials, key: str, now: datetime) -> Caller:
        if not credentials.is_well_formed(key):
            raise _refused("wrong API key", "credentials_wrong")
        tenant_id = authorization.tenant_id_of(presented.tenant_id)
        principal = await self._principal(
            Lookup("key", self._peppers.digest(key), tenant_id, presented.tenant_name), key
        )
        digests = () if principal is None else self._matching_digests(key, principal, now)
        if principal is None or not digests:
            raise _refused("wrong API key", "credentials_wrong")
        presented.on_verified(principal)
        via: Via = "platform_key" if principal.credential_kind == "platform_key" else "user_key"
        authorization.check_credential(via, principal, now)
        if via == "platform_key" and principal.tenant_status is None and (tenant_id or presented.tenant_name):
            raise authorization.tenant_not_found()
        if via == "platform_key" and not principal.livemode and presented.path_tenant_id is not None:
            await self._require_test_tenant(authorization.tenant_id_of(presented.path_tenant_id), key)
        # A test tenant has no live rows, whatever key is used.
        livemode = principal.livemode and principal.tenant_livemode is not False
        return authorization.caller_for(via, principal, livemode=livemode, key_digests=digests)

    async def _require_test_tenant(self, tenant_id: str | None, key: str) -> None:
        """Raises `NotFound` unless this is known to be a test tenant."""
        named = await self._principal(Lookup("key", self._peppers.digest(key), tenant_id), key)
        if named is None or named.tenant_livemode is None:
            raise authorization.tenant_not_found()
        authorization.check_mode(named)

    async def _by_session_token(self, token: str, now: datetime) -> Caller:
        claims = self._tokens.get(token)
        try:
            if claims is None:
                claims = await self._verified(token, now)
                self._tokens[token] = claims
            if now >= claims.expires_at:
                raise tokens.TokenRefused("token_expired")
        except tokens.TokenRefused as refusal:
            raise _refused("this session token is not valid", refusal.code) from refusal
        principal = await self._principal(Lookup("subject", claims.subject_id))
        if principal is None:
            # The signature proves that identity knows this subject; its event has not arrived here yet.
            raise Unavailable("this account is not known here yet", code="access_not_ready")
        if authorization.is_revoked(claims.issued_at, principal):
            raise _session_revoked()
        via: Via = "merchant_session" if principal.subject_kind == "merchant" else "session"
        return authorization.caller_for(
            via,
            principal,
            livemode=claims.livemode,
            session_id=claims.session_id,
            token_issued_at=claims.issued_at,
            stepped_up_at=claims.stepped_up_at,
            enrolment_only=claims.enrolment_only,
        )

    async def _verified(self, token: str, now: datetime) -> tokens.Claims:
        key_id = tokens.key_id_of(token)
        if key_id not in self._public_keys:
            await self._look_up(key_id)
        return tokens.verify(token, public_keys=self._public_keys, now=now)

    async def _look_up(self, key_id: str) -> None:
        """Read the signing keys again for an unknown one. Invented ids cost no more than a few queries in a second, whoever sends them."""
        self._key_lookups.expire()
        lookup = self._key_lookups.get(key_id)
        if lookup is None:
            if len(self._key_lookups) >= KEY_LOOKUPS_MAX:
                return
            # The tokens of a new key arrive together: they wait for one query, which none of their requests can cancel.
            lookup = self._key_lookups[key_id] = asyncio.create_task(self._refresh_public_keys())
        await asyncio.shield(lookup)

    def _matching_digests(self, key: str, principal: Principal, now: datetime) -> tuple[str, ...]:
        """The digest of the key among those that are valid now, and, under an older pepper, the one that may take its place at any time."""
        for digest, version, valid_until in principal.digests:
            if (valid_until is None or now < valid_until) and self._peppers.matches(key, digest, version):
                if version == self._peppers.current_version:
                    return (digest,)
                if self.on_older_digest is not None and principal.credential_id is not None:
                    self.on_older_digest(principal.credential_id, key)
                return (digest, self._peppers.digest(key))
        return ()

    async def _principal(self, lookup: Lookup, key: str | None = None) -> Principal | None:
        asked_at = time.monotonic()
        cached = self._cache.get(lookup)
        if cached is not None and self._is_valid(*cached, asked_at):
            return cached[1]
        loading = self._loading.get(lookup)
        # Whose answer waited while the process was paused tells what was true before.
        if loading is None or asked_at - loading[0] > self._cache_ttl_seconds:
            # Concurrent misses share one query. It is a task of its own, so that no caller can cancel it.
            task = asyncio.create_task(self._load_into_cache(lookup, key, asked_at))
            loading = self._loading[lookup] = (asked_at, task)
            task.add_done_callback(partial(self._loaded, lookup))
        return await asyncio.shield(loading[1])

    def _loaded(self, lookup: Lookup, task: "asyncio.Task[Principal | None]") -> None:
        loading = self._loading.get(lookup)
        if loading is not None and loading[1] is task:
            del self._loading[lookup]

    async def _load_into_cache(self, lookup: Lookup, key: str | None, loaded_at: float) -> Principal | None:
        # An instant before the query: a change that arrives during the query invalidates its result.
        async with self._database.reading() as session:
            principal = await load_principal(session, lookup, self._peppers, key)
        self._cache[lookup] = (loaded_at, principal)
        return principal

    def _is_valid(self, loaded_at: float, principal: Principal | None, now: float) -> bool:
        if loaded_at <= max(self._all_changed_at, now - self._cache_ttl_seconds):
            return False
        if principal is None or principal.tenant_id is None:
            return loaded_at > self._changed_at
        return loaded_at > self._tenant_changed_at.get(principal.tenant_id, 0.0)

    def forget(self, tenants: str) -> None:
        """Invalidate the cached principals of these tenants (comma-separated ids, or `*`)."""
        # Who asks from now on must not be told what a query under way has read before.
        self._loading.clear()
        for watcher in self.watchers:
            watcher(tenants)
        self._changed_at = time.monotonic()
        if tenants == "*":
            self._all_changed_at = self._changed_at
            return
        for tenant_id in tenants.split(","):
            self._tenant_changed_at[tenant_id] = self._changed_at

    def on_notify(self, payload: str) -> None:
        """Handle a notification of the projection: tenants that have changed, or revocations that this process refuses by now."""
        revocations = projection.read_revocations(payload)
        if not revocations:
            self.forget(payload)
        elif self._receipts is not None:
            self._receipts.note(revocations)

    async def apply_own_events(self, session: AsyncSession) -> None:
        """Hook before a commit: apply the access events that this service publishes to its own projection, in the same transaction."""
        events = [event for event in outbox.pending(session) if isinstance(event, projection.ACCESS_EVENTS)]
        if events:
            await projection.apply(session, events)
            session.info["access_changed"] = True

    def invalidate_after_own_events(self, session: AsyncSession) -> None:
        """Hook after a commit: empty the cache, so that this process need not wait for the NOTIFY."""
        if session.info.pop("access_changed", False):
            self.forget("*")

    async def refresh(self) -> None:
        """Read the latest proof for each topic, and the signing keys."""
        async with driver_reading(self._database) as driver:
            self._caught_up_at = dict(await driver.fetch(_PROGRESS, f"{self._service}.access"))
            self._staleness.set(self.staleness_seconds(datetime.now(UTC)))
            self._use_public_keys(await driver.fetch(_SIGNING_KEYS))

    async def _refresh_public_keys(self) -> None:
        async with self._database.reading() as session:
            self._use_public_keys((await session.execute(text(_SIGNING_KEYS))).all())

    def _use_public_keys(self, rows: Sequence[Sequence[Any]]) -> None:
        # A proof is verified once: that takes as long as everything else here.
        self._proven = [row for row in map(tuple, rows) if row in self._proven or self._is_proven(*row)]
        known = {row[0]: row[2] for row in self._proven}
        if known.keys() != self._public_keys.keys():
            self._public_keys = {key_id: tokens.public_key(value) for key_id, value in known.items()}
            self._tokens.clear()

    def _is_proven(
        self, key_id: str, version: int, public_key: str, retires_at: datetime | None, proof: str | None
    ) -> bool:
        return self._roots.vouch_for(SigningKeyFacts(key_id, version, public_key, retires_at), proof)

    async def run(self) -> None:
        """Listen for changes and refresh until cancelled. A lost connection empties the cache; it is opened again."""
        await Listener(
            self._database,
            projection.CHANNEL,
            application_name=f"{self._service}-access",
            on_notify=self.on_notify,
            on_connected=partial(self.forget, "*"),
            on_lost=partial(self.forget, "*"),
            refresh=self.refresh,
            refresh_seconds=REFRESH_SECONDS,
        ).run()


def _rechecked(caller: Caller, principal: Principal | None, now: datetime) -> Caller | WaybillError:
    if principal is None:
        return _refused("these credentials are not known", "credentials_unknown")
    current = authorization.caller_for(
        caller.via,
        principal,
        livemode=caller.livemode,
        session_id=caller.session_id,
        key_digests=caller.key_digests,
        token_issued_at=caller.token_issued_at,
        route=caller.route,
        stepped_up_at=caller.stepped_up_at,
        enrolment_only=caller.enrolment_only,
    )
    try:
        authorization.authorize(current, caller.route, now)
    except WaybillError as refusal:
        return refusal
    if caller.key_digests and not authorization.is_valid(caller.key_digests, principal, now):
        return _refused("this key was replaced", "credentials_wrong")
    if caller.token_issued_at is not None and authorization.is_revoked(caller.token_issued_at, principal):
        return _session_revoked()
    return current


def _session_revoked() -> Unauthenticated:
    return _refused("this session has ended", "session_revoked")


def _refused(detail: str, code: str) -> Unauthenticated:
    return Unauthenticated(
        detail, code=code, headers={"WWW-Authenticate": 'Basic realm="waybill", Bearer realm="waybill"'}
    )
