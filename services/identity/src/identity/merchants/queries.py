"""Reads and locks merchants."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import fields, rows
from identity.locations import LocationRow
from identity.mail import MailAnswers, Recipient
from identity.merchants import rules
from identity.merchants.schemas import Merchant, MerchantIn
from identity.merchants.tables import MerchantRow
from identity.search_words import search_page, search_words
from identity.tenants import TenantRow
from shared.api import ANY_VERSION, IfMatch, Page, Paging, where_equal
from shared.audit import Actor
from shared.errors import NotFound
from shared.events import identity as events
from shared.ids import new_id

STRANDED_MAX = 20
"""Merchants named in the refusal to deactivate their last active location."""


async def list_merchants(
    session: AsyncSession,
    actor: Actor,
    paging: Paging,
    *,
    level: int | None,
    status: str | None,
    api_access: bool | None,
    reference_id: str | None,
    q: str | None,
) -> Page[Merchant]:
    """The tenant's merchants, newest first; with `q` those whose words begin with its words."""
    equal = {
        col(MerchantRow.level): level,
        col(MerchantRow.status): status,
        col(MerchantRow.api_access): api_access,
        col(MerchantRow.reference_id): reference_id,
    }
    statement = where_equal(visible_rows(actor), equal)
    return await search_page(
        session, MerchantRow, actor.tenant_id, statement, paging, q=q, view=view, filters=[*equal.values()]
    )


async def get(session: AsyncSession, actor: Actor, merchant_id: str) -> Merchant:
    """One merchant. Raises `NotFound`."""
    return view(await rows.get_one(session, _by_id(actor, merchant_id), _not_found()))


async def lock_for_update(
    session: AsyncSession, actor: Actor, merchant_id: str, if_match: IfMatch = ANY_VERSION
) -> MerchantRow:
    """One merchant's row, locked. Raises `NotFound`, `PreconditionFailed`."""
    row = await rows.get_one(session, _by_id(actor, merchant_id).with_for_update(key_share=True), _not_found())
    if_match.check(row.version)
    return row


async def lock_for_reset(session: AsyncSession, actor: Actor, merchant_id: str) -> MerchantRow:
    """The row, locked, of a merchant whose way in the actor may give anew. Raises `NotFound`, `Forbidden` (it has API access)."""
    row = await lock_for_update(session, actor, merchant_id)
    if row.api_access:
        rules.check_permission(rules.API_ACCESS_PERMISSION, actor.permissions)
    return row


async def lock_by_account(session: AsyncSession, actor: Actor, account_id: str) -> MerchantRow:
    """The row of the merchant that has this API Account ID, locked. Raises `NotFound`."""
    statement = visible_rows(actor).where(col(MerchantRow.account_id) == account_id).with_for_update(key_share=True)
    missing = NotFound("no merchant has this API Account ID", code="account_not_found")
    return await rows.get_one(session, statement, missing)


async def lock_holder(session: AsyncSession, account_id: str) -> MerchantRow | None:
    """The row of the merchant that has this API Account ID, locked, for what the service does by itself."""
    statement = select(MerchantRow).where(col(MerchantRow.account_id) == account_id).with_for_update(key_share=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def list_stranded(session: AsyncSession, tenant_id: str, location_id: str) -> list[str]:
    """Ids of active merchants that have no other active location than this one, `STRANDED_MAX` at most."""
    other = exists().where(
        col(LocationRow.location_id) == func.any(col(MerchantRow.location_ids)),
        col(LocationRow.location_id) != location_id,
        col(LocationRow.active),
    )
    statement = (
        select(col(MerchantRow.merchant_id))
        .where(
            col(MerchantRow.tenant_id) == tenant_id,
            col(MerchantRow.status) == "active",
            col(MerchantRow.location_ids).contains([location_id]),
            ~other,
        )
        .order_by(col(MerchantRow.merchant_id))
        .limit(STRANDED_MAX)
    )
    return list((await session.execute(statement)).scalars())


async def lock_for_mail(session: AsyncSession, answers: MailAnswers) -> Sequence[MerchantRow]:
    """The merchants, locked, with whose present address it is news that a server took mail or refused it."""
    id_, refused_at = col(MerchantRow.merchant_id), col(MerchantRow.email_refused_at)
    refused = [key for key, refusal in answers.items() if refusal is not None and key[0].startswith("mer_")]
    taken = [key for key, refusal in answers.items() if refusal is None and key[0].startswith("mer_")]
    if not refused and not taken:
        return []
    person = tuple_(id_, col(MerchantRow.login_email))
    news = or_(person.in_(refused), and_(person.in_(taken), refused_at.is_not(None)))
    statement = select(MerchantRow).where(news).order_by(id_).with_for_update(key_share=True)
    return (await session.execute(statement)).scalars().all()


def recipient(row: MerchantRow, *, email: str | None = None) -> Recipient:
    """Who logs in for a merchant, as the recipient of a mail; `email` is a former address."""
    return Recipient(
        id=row.merchant_id,
        tenant_id=row.tenant_id,
        email=email or row.login_email,
        name=row.business_name,
        language=row.language,
        livemode=row.livemode,
    )


async def require_free_reference_id(
    session: AsyncSession, tenant_id: str, reference_id: str | None, own_id: str | None
) -> None:
    """Raises `AlreadyExists` when another merchant of the tenant has this reference id."""
    if reference_id is None:
        return
    holder = select(col(MerchantRow.merchant_id)).where(
        col(MerchantRow.tenant_id) == tenant_id, col(MerchantRow.reference_id) == reference_id
    )
    await rows.require_free(
        session, holder, own_id, message="a merchant has this reference id", code="reference_id_taken"
    )


def view(row: MerchantRow) -> Merchant:
    """A merchant as the API shows it."""
    return Merchant(
        id=row.merchant_id,
        tenant_id=row.tenant_id,
        business_name=row.business_name,
        login_email=row.login_email,
        language=row.language,
        email_refused_at=row.email_refused_at,
        email_refusal=row.email_refusal,
        contact_email=row.contact_email,
        phone=row.phone,
        address=fields.address_of(row.address),
        level=row.level,
        status=row.status,
        api_access=row.api_access,
        api_account_id=row.account_id if row.api_access else None,
        location_ids=row.location_ids,
        default_location_id=row.default_location_id,
        reference_id=row.reference_id,
        metadata=row.details,
        livemode=row.livemode,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def new_row(tenant: TenantRow, body: MerchantIn, now: datetime) -> MerchantRow:
    """The row of a new merchant, still without API access."""
    return MerchantRow(
        merchant_id=new_id("mer"),
        tenant_id=tenant.tenant_id,
        version=1,
        business_name=body.business_name,
        login_email=body.login_email,
        language=body.language,
        contact_email=body.contact_email,
        phone=body.phone,
        address=fields.to_document(body.address),
        level=body.level,
        status="active",
        api_access=False,
        location_ids=body.location_ids,
        default_location_id=body.default_location_id,
        reference_id=body.reference_id,
        details=body.metadata,
        sessions_valid_from=now,
        livemode=not tenant.test,
        created_at=now,
        updated_at=now,
    )


def index(row: MerchantRow) -> None:
    """Have a row found by the words that it has now."""
    row.search_words = search_words(
        row.tenant_id, row.business_name, row.login_email, row.contact_email, row.account_id, row.reference_id
    )


def state(row: MerchantRow) -> events.MerchantState:
    """A merchant as events carry it."""
    return events.MerchantState(
        merchant_id=row.merchant_id,
        tenant_id=row.tenant_id,
        business_name=row.business_name,
        level=row.level,
        status=row.status,
        api_access=row.api_access,
        location_ids=row.location_ids,
        default_location_id=row.default_location_id,
        reference_id=row.reference_id,
        sessions_valid_from=row.sessions_valid_from,
        pair=_credentials_state(row),
    )


def _by_id(actor: Actor, merchant_id: str) -> Select[MerchantRow]:
    return visible_rows(actor).where(col(MerchantRow.merchant_id) == merchant_id)


def visible_rows(actor: Actor) -> Select[MerchantRow]:
    """The merchants that an actor sees."""
    return rows.visible_to(select(MerchantRow), actor, MerchantRow.tenant_id, MerchantRow.livemode)


def _not_found() -> NotFound:
    return NotFound("no merchant with this id", code="merchant_not_found")


def _credentials_state(row: MerchantRow) -> events.PairState | None:
    """The API credentials as events carry them: digests, never the key."""
    if row.account_id is None or row.key_digest is None or row.key_pepper_version is None:
        return None
    digests = [events.DigestState(digest=row.key_digest, pepper_version=row.key_pepper_version)]
    if row.previous_key_digest is not None and row.previous_key_pepper_version is not None:
        previous = events.DigestState(
            digest=row.previous_key_digest,
            pepper_version=row.previous_key_pepper_version,
            valid_until=row.previous_key_valid_until,
        )
        digests.append(previous)
    return events.PairState(account_id=row.account_id, livemode=row.livemode, digests=digests)
