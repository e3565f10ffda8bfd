"""Routes of one's own second factor, and of removing that of somebody who has lost it."""

from identity import second_factors
from identity.authentication import Authenticator
from identity.second_factors.schemas import Enrolment, EnrolmentIn, RecoveryCodes, SecondFactor
from shared.api import CurrentActor, Reading, Router, Transaction, Transactions, also_answers, requires, session_only
from shared.ids import MerchantId, UserId

REVOKES = also_answers(204, "Revocation-Id")


def router(authenticator: Authenticator) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["sessions"])

    @routes.get("/v1/auth/second-factor")
    @session_only(exempt_from_402=True, open_before_enrolment=True)
    async def get_second_factor(session: Reading, actor: CurrentActor) -> SecondFactor:
        """Whether you have a second factor, and need one."""
        return await second_factors.get(session, actor)

    @routes.post("/v1/auth/second-factor")
    @session_only(exempt_from_402=True, step_up=True, open_before_enrolment=True)
    async def begin_second_factor(session: Transaction, actor: CurrentActor) -> Enrolment:
        """Get a secret for your authenticator app (TOTP: SHA-1, six digits, 30 seconds)."""
        return await second_factors.enrol(session, authenticator, actor)

    @routes.post("/v1/auth/second-factor/confirm")
    @session_only(exempt_from_402=True, open_before_enrolment=True)
    async def confirm_second_factor(
        body: EnrolmentIn, transactions: Transactions, actor: CurrentActor
    ) -> RecoveryCodes:
        """Confirm your authenticator app with a code: from now on logging in asks for one."""
        return await second_factors.confirm(authenticator, transactions, actor, body.code)

    @routes.post("/v1/auth/second-factor/recovery-codes")
    @session_only(exempt_from_402=True, step_up=True)
    async def renew_recovery_codes(session: Transaction, actor: CurrentActor) -> RecoveryCodes:
        """Get new recovery codes; those of before are no longer valid."""
        return await second_factors.new_recovery_codes(session, actor)

    @routes.delete("/v1/auth/second-factor", status_code=204)
    @session_only(exempt_from_402=True, step_up=True)
    async def delete_second_factor(session: Transaction, actor: CurrentActor) -> None:
        """Remove your second factor."""
        await second_factors.remove(session, actor)

    @routes.delete("/v1/staff/{user_id}/second-factor", status_code=204, responses=REVOKES)
    @requires("settings.staff.write")
    async def reset_staff_second_factor(user_id: UserId, session: Transaction, actor: CurrentActor) -> None:
        """Remove the second factor of a member of staff who has lost it; the sessions of that person end."""
        await second_factors.reset_staff(session, actor, user_id)

    @routes.delete("/v1/merchants/{merchant_id}/second-factor", status_code=204, responses=REVOKES)
    @requires("settings.merchants.write")
    async def reset_merchant_second_factor(merchant_id: MerchantId, session: Transaction, actor: CurrentActor) -> None:
        """Remove the second factor of a merchant who has lost it; its sessions end."""
        await second_factors.reset_merchant(session, actor, merchant_id)

    return routes
