"""Explains permissions."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from identity import users
from identity.permissions import rules
from identity.permissions.schemas import Explanation, Granter, Missing
from shared.access import authorization
from shared.access.credentials import Peppers
from shared.access.principal_store import Lookup, load_principal
from shared.access.principals import Caller, Via
from shared.access.projection import CREDENTIALS
from shared.audit import Actor
from shared.errors import Forbidden, NotFound
from shared.ids import to_uuid
from shared.problem_types import problem_types

READING = "settings.staff.read"
GRANTERS_MAX = 20


async def explain(
    session: AsyncSession, actor: Actor, peppers: Peppers, subject: str | None, permission: str
) -> Explanation:
    """Whether somebody of the actor's tenant may do something, by what, and what is missing.

    Raises `Forbidden` for somebody else without the permission to read staff, `NotFound`.
    """
    subject = subject or actor.id
    caller = await _find(session, actor, peppers, subject)
    if caller is None or not _is_own(actor, caller):
        _require_reading(actor)
    if caller is None:
        raise NotFound("no user, merchant or credential of this tenant with this id", code="subject_not_found")
    refusals = rules.decide(caller, permission, datetime.now(UTC))
    grounds = rules.grounds_of(caller, permission)
    return Explanation(
        subject=subject,
        principal=caller.kind,
        credential=caller.via,
        permission=permission,
        allowed=not refusals,
        held_by=grounds.by if grounds else None,
        granted_code=grounds.code if grounds else None,
        missing=[await _missing(session, actor, caller, permission, refusal.problem_code) for refusal in refusals],
    )


async def _find(session: AsyncSession, actor: Actor, peppers: Peppers, subject: str) -> Caller | None:
    """The subject as it would call: a person in a session, or a key."""
    lookup = await _lookup(session, subject)
    principal = None if lookup is None else await load_principal(session, lookup, peppers)
    if principal is None or principal.tenant_id != actor.tenant_id or principal.credential_kind == "platform_key":
        return None
    if principal.credential_kind is not None:
        via: Via = "pair" if principal.credential_kind == "pair" else "user_key"
    else:
        via = "merchant_session" if principal.subject_kind == "merchant" else "session"
    return authorization.caller_for(via, principal, livemode=actor.livemode)


async def _lookup(session: AsyncSession, subject: str) -> Lookup | None:
    if subject.startswith("acct_"):
        return Lookup("account", subject)
    if subject.startswith("key_"):
        digests = await session.scalar(
            select(CREDENTIALS.c.digest_values).where(CREDENTIALS.c.credential_id == subject)
        )
        return Lookup("key", digests[0]) if digests else None
    try:
        to_uuid(subject)
    except ValueError:
        return None
    return Lookup("subject", subject) if subject.startswith(("usr_", "mer_")) else None


def _is_own(actor: Actor, caller: Caller) -> bool:
    """Whether this is the actor, or one of its keys."""
    own = actor.caller.subject_id
    return own is not None and own == caller.subject_id


def _require_reading(actor: Actor) -> None:
    if not actor.caller.may(READING):
        raise Forbidden(
            f"the permission {READING} is missing: without it you can ask about yourself",
            code="permission_missing",
            required=[READING],
        )


async def _missing(session: AsyncSession, actor: Actor, caller: Caller, permission: str, code: str) -> Missing:
    known = problem_types()[code]
    needed = rules.permissions_to_mend(caller, permission, code)
    granters: list[Granter] = []
    if code in ("tenant_suspended", "tenant_closed"):
        granters = [Granter(kind="platform", id=None, name=None)]
    elif needed is not None:
        holders = await users.list_holders(session, actor.tenant_id, needed, GRANTERS_MAX)
        # Nobody mends their own account.
        granters = [
            Granter(kind=row.kind, id=row.user_id, name=f"{row.first_name} {row.last_name}")
            for row in holders
            if row.user_id != caller.subject_id
        ]
        if actor.caller.kind == "merchant":
            # Who works for the company is nothing to its merchants.
            granters = [Granter(kind="owner", id=None, name=None)]
    return Missing(code=code, title=known.title, remedy=known.remedy, needed=needed or [], granters=granters)
