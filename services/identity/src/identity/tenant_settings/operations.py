"""Reads and changes the settings of a tenant."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from identity import merchants, sessions, tenants
from identity.tenant_settings import rules
from identity.tenant_settings.rules import SessionLimits
from identity.tenant_settings.schemas import Notices, TenantSettings, TenantSettingsPatch
from identity.tenants import NOTICES, TenantRow
from shared import audit
from shared.api import IfMatch
from shared.audit import Actor


async def get(session: AsyncSession, actor: Actor, limits: SessionLimits) -> TenantSettings:
    """The settings of the actor's tenant."""
    return _view(await tenants.get_own(session, actor), limits)


async def update(
    session: AsyncSession, actor: Actor, if_match: IfMatch, patch: TenantSettingsPatch, limits: SessionLimits
) -> TenantSettings:
    """Change the given settings. Where keys can no longer be revealed at any time, their stored copies go in this transaction.

    Raises `PreconditionFailed`, `Invalid` (a lifetime that the operator does not allow).
    """
    rules.check_lifetimes(patch.session_token_seconds, patch.session_days, limits)
    row = await tenants.lock_own(session, actor, if_match)
    before = _view(row, limits)
    _apply(row, patch)
    after = _view(row, limits)
    if after != before:
        tenants.publish_update(session, actor, row, before, after)
    if before.reveal == "step_up" != after.reveal:
        shredded = await merchants.shred_keys(session, row.tenant_id)
        audit.record(session, actor, "credentials.shredded", row.tenant_id, after={"keys": shredded})
    if after.session_days < before.session_days:
        await sessions.shorten(session, row.tenant_id, timedelta(days=after.session_days))
    return _view(row, limits)


def _apply(row: TenantRow, patch: TenantSettingsPatch) -> None:
    given = patch.model_fields_set
    row.job_review = row.job_review if patch.job_review is None else patch.job_review
    row.reveal = patch.reveal or row.reveal
    row.second_factor = patch.second_factor or row.second_factor
    if "session_token_seconds" in given:
        row.session_token_seconds = patch.session_token_seconds
    if "session_days" in given:
        row.session_days = patch.session_days
    if patch.notices is not None:
        switched = patch.notices.model_dump(exclude_unset=True)
        row.notices_off = [name for name in NOTICES if not switched.get(name, name not in row.notices_off)]


def _view(row: TenantRow, limits: SessionLimits) -> TenantSettings:
    return TenantSettings(
        tenant_id=row.tenant_id,
        job_review=row.job_review,
        reveal=row.reveal,
        second_factor=row.second_factor,
        session_token_seconds=min(row.session_token_seconds or limits.token_seconds, limits.token_seconds),
        session_days=min(row.session_days or limits.days, limits.days),
        notices=Notices(**{name: name not in row.notices_off for name in NOTICES}),
        updated_at=row.updated_at,
        version=row.version,
    )
