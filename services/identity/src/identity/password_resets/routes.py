"""Routes of forgotten passwords. Nothing is consumed by a GET: mail scanners follow links."""

from identity import password_resets
from identity.authentication import Authenticator
from identity.password_resets.schemas import (
    PasswordReset,
    PasswordResetConfirmation,
    PasswordResetIn,
    PasswordResetRequest,
)
from shared.api import RequestOrigin, Router, public


def router(authenticator: Authenticator) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["sessions"])

    @routes.post("/v1/password-resets", status_code=202)
    @public()
    async def request_password_reset(body: PasswordResetIn, origin: RequestOrigin) -> PasswordResetRequest:
        """Have a token for a new password mailed to an account, if there is one."""
        return await password_resets.request(authenticator, origin, body)

    @routes.post("/v1/password-resets/confirm")
    @public()
    async def confirm_password_reset(body: PasswordResetConfirmation, origin: RequestOrigin) -> PasswordReset:
        """Set a new password with the token from the mail; all your sessions end, API keys stay."""
        return await password_resets.confirm(authenticator, origin, body)

    return routes
