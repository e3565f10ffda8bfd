"""Routes of staff accounts and their permissions."""

from typing import Annotated

from fastapi import Query

from identity import users
from identity.fields import SearchText
from identity.logins import Passwords
from identity.users.schemas import (
    ChangedUser,
    CreatedUser,
    StaffIn,
    StaffPatch,
    StaffPermissions,
    StaffPermissionsIn,
    User,
    UserStatus,
)
from shared.api import (
    CurrentActor,
    IfMatch,
    Page,
    PageRequest,
    Reading,
    Router,
    Searching,
    Transaction,
    also_answers,
    requires,
)
from shared.fields.merge_patch import merge_patch_body
from shared.ids import UserId


def router(passwords: Passwords, *, staff_max: int) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["staff"])

    @routes.get("/v1/staff")
    @requires("settings.staff.read")
    async def list_staff(
        session: Searching,
        actor: CurrentActor,
        paging: PageRequest,
        status: Annotated[UserStatus | None, Query(description="Only users in this status.")] = None,
        q: Annotated[
            SearchText,
            Query(description="Only where each of these words begins a word of name or e-mail address."),
        ] = None,
    ) -> Page[User]:
        """List the owner and the members of staff."""
        return await users.list_users(session, actor, paging, status=status, q=q)

    @routes.post("/v1/staff", status_code=201)
    @requires("settings.staff.write")
    async def create_staff(body: StaffIn, session: Transaction, actor: CurrentActor) -> CreatedUser:
        """Create a member of staff."""
        return await users.create(session, actor, passwords, body, staff_max=staff_max)

    @routes.get("/v1/staff/{user_id}")
    @requires("settings.staff.read")
    async def get_staff(user_id: UserId, session: Reading, actor: CurrentActor) -> User:
        """Get a member of staff."""
        return await users.get(session, actor, user_id)

    @routes.patch("/v1/staff/{user_id}", openapi_extra=merge_patch_body("StaffPatch"))
    @requires("settings.staff.write")
    async def update_staff(
        user_id: UserId, body: StaffPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> ChangedUser:
        """Change a member of staff."""
        return await users.update(session, actor, user_id, if_match, body)

    @routes.post("/v1/staff/{user_id}/disable", responses=also_answers(200, "Revocation-Id"))
    @requires("settings.staff.write")
    async def disable_staff(user_id: UserId, session: Transaction, actor: CurrentActor) -> User:
        """Disable a member of staff."""
        return await users.disable(session, actor, user_id)

    @routes.post("/v1/staff/{user_id}/enable")
    @requires("settings.staff.write")
    async def enable_staff(user_id: UserId, session: Transaction, actor: CurrentActor) -> User:
        """Enable a disabled member of staff."""
        return await users.enable(session, actor, user_id)

    @routes.get("/v1/staff/{user_id}/permissions")
    @requires("settings.staff.read")
    async def get_staff_permissions(user_id: UserId, session: Reading, actor: CurrentActor) -> StaffPermissions:
        """Get what a member of staff may do."""
        return await users.get_permissions(session, actor, user_id)

    @routes.put("/v1/staff/{user_id}/permissions", responses=also_answers(200, "Revocation-Id"))
    @requires("settings.staff.write")
    async def set_staff_permissions(
        user_id: UserId, body: StaffPermissionsIn, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> StaffPermissions:
        """Set what a member of staff may do."""
        return await users.set_permissions(session, actor, user_id, if_match, body.permissions)

    return routes
