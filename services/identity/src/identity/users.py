"""Users: what an owner and a member of staff have in common."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity.models.users import User, UserRow
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox


def new(
    *,
    tenant_id: str,
    kind: str,
    email: str,
    names: tuple[str, str],
    invited: bool,
    permissions: list[str],
    livemode: bool,
    now: datetime,
) -> UserRow:
    """A row for a new user; whoever makes it adds and publishes it."""
    return UserRow(
        user_id=new_id("usr"),
        tenant_id=tenant_id,
        version=1,
        kind=kind,
        email=email,
        first_name=names[0],
        last_name=names[1],
        status="invited" if invited else "active",
        permissions=permissions,
        sessions_valid_from=now,
        livemode=livemode,
        created_at=now,
        updated_at=now,
    )


def view(row: UserRow) -> User:
    """A user as the API shows it."""
    return User(
        id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        status=row.status,
        permissions=row.permissions,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def publish(session: AsyncSession, fact: type[facts.UserEvent], row: UserRow) -> None:
    """Tell a fact of a user with its whole present state."""
    state = facts.UserState(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        status=row.status,
        permissions=row.permissions,
        sessions_valid_from=row.sessions_valid_from,
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.user_id, sequence=row.version, data=state),
    )
