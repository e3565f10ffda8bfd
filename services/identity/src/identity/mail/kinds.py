"""The kinds of mail about people's own accounts: what each is told, and what it says. Those about the business are in `business_kinds`.

A new kind is a class here, in `ALL`, and its words in `locales/fr.po` (`make contracts` puts them there, untranslated). Its text is written
once; layouts make text and HTML of it.
"""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from identity.mail.rendering import Words
from identity.mail.schemas import Button, Content, Details, Paragraph

INVITATION_PATH = "/invitation"
PASSWORD_RESET_PATH = "/password-reset"  # noqa: S105
EMAIL_CHANGE_PATH = "/email-change"
SIGN_IN_PATH = "/sign-in"
SESSIONS_PATH = "/settings/sessions"
API_SETTINGS_PATH = "/api-settings"
COMPANY_PATH = "/settings/company"


class Mail(BaseModel):
    """Base of the kinds. The values are those that the text needs."""

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[str]
    awaited: ClassVar[bool] = False
    """Whether somebody waits for it, so that it goes before notices."""
    replaces: ClassVar[bool] = False
    """Whether it takes the place of what waits of this kind for the same person: for kinds with a token."""

    @property
    def useless_after(self) -> datetime | None:
        """The instant from which it is not sent any more."""
        return None

    def content(self, words: Words, tenant: str) -> Content:
        """What it says; `tenant` is the name of the recipient's tenant."""
        raise NotImplementedError


class WithToken(Mail):
    """A mail whose link has a token, which lives until an instant."""

    awaited: ClassVar[bool] = True
    replaces: ClassVar[bool] = True

    token: str
    expires_at: datetime

    @property
    def useless_after(self) -> datetime | None:
        return self.expires_at


class Invitation(WithToken):
    """Somebody may set a first password."""

    kind: ClassVar[str] = "invitation"

    role: Literal["owner", "staff", "merchant"]

    def content(self, words: Words, tenant: str) -> Content:
        match self.role:
            case "owner":
                welcome = words("{tenant} is ready. You are its owner: set a password to begin.", tenant=tenant)
            case "staff":
                welcome = words("You are invited to work for {tenant}. Set a password to begin.", tenant=tenant)
            case "merchant":
                welcome = words("You are invited to ship with {tenant}. Set a password to begin.", tenant=tenant)
        return Content(
            subject=words("Your invitation to {tenant}", tenant=tenant),
            heading=words("Welcome to {tenant}", tenant=tenant),
            parts=[
                Paragraph(welcome),
                Button(words("Accept the invitation"), words.link(INVITATION_PATH, token=self.token)),
                Paragraph(
                    words("The invitation can be used once, until {until}.", until=words.instant(self.expires_at))
                ),
            ],
            note=words("If you do not know {tenant}, you can ignore this mail.", tenant=tenant),
        )


class PasswordReset(WithToken):
    """Somebody asked for a new password."""

    kind: ClassVar[str] = "password_reset"

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Reset your password"),
            heading=words("Reset your password"),
            parts=[
                Paragraph(words("Somebody asked to reset the password of your account at {tenant}.", tenant=tenant)),
                Button(words("Choose a new password"), words.link(PASSWORD_RESET_PATH, token=self.token)),
                Paragraph(words("The link can be used once, until {until}.", until=words.instant(self.expires_at))),
            ],
            note=words("If it was not you, ignore this mail: your password stays as it is."),
        )


class PasswordChanged(Mail):
    """The password was changed or reset."""

    kind: ClassVar[str] = "password_changed"
    awaited: ClassVar[bool] = True

    changed_at: datetime
    address: str = ""
    """Network address from which it was done."""

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Your password was changed"),
            heading=words("Your password was changed"),
            parts=[
                Paragraph(words("The password of your account at {tenant} was changed.", tenant=tenant)),
                _where(words, self.changed_at, self.address),
                Paragraph(
                    words("Your other sessions have ended. API keys stay valid: revoke those that you do not trust.")
                ),
                Button(words("Sign in"), words.link(SIGN_IN_PATH)),
            ],
            note=_not_you(words, tenant),
        )


class EmailVerification(WithToken):
    """An address is to become that of an account. It goes to the new address."""

    kind: ClassVar[str] = "email_verification"

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Confirm your e-mail address"),
            heading=words("Confirm your e-mail address"),
            parts=[
                Paragraph(words("This is to become the e-mail address of your account at {tenant}.", tenant=tenant)),
                Button(words("Confirm this address"), words.link(EMAIL_CHANGE_PATH, token=self.token)),
                Paragraph(words("The link can be used once, until {until}.", until=words.instant(self.expires_at))),
            ],
            note=words("If you do not know {tenant}, you can ignore this mail.", tenant=tenant),
        )


class EmailChangeRequested(Mail):
    """Another address is to take the place of this one. It goes to the present address."""

    kind: ClassVar[str] = "email_change_requested"
    awaited: ClassVar[bool] = True

    present: str
    future: str
    requested_at: datetime

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Your e-mail address is to be changed"),
            heading=words("Your e-mail address is to be changed"),
            parts=[
                Paragraph(
                    words("Somebody asked for another e-mail address of your account at {tenant}.", tenant=tenant)
                ),
                Details(
                    [
                        (words("Present address"), self.present),
                        (words("New address"), self.future),
                        *_where(words, self.requested_at, "").lines,
                    ]
                ),
                Paragraph(words("Nothing changes before the mail to the new address is answered.")),
            ],
            note=_not_you(words, tenant),
        )


class SecondFactorReset(Mail):
    """An administrator removed a second factor that was lost."""

    kind: ClassVar[str] = "second_factor_reset"
    awaited: ClassVar[bool] = True

    reset_at: datetime

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Your second factor was removed"),
            heading=words("Your second factor was removed"),
            parts=[
                Paragraph(
                    words("An administrator removed the second factor of your account at {tenant}.", tenant=tenant)
                ),
                _where(words, self.reset_at, ""),
                Paragraph(words("Your sessions have ended. Sign in with your password, and enrol a new one.")),
                Button(words("Sign in"), words.link(SIGN_IN_PATH)),
            ],
            note=_not_you(words, tenant),
        )


class EmailChanged(Mail):
    """The e-mail address of an account was changed. It goes to both addresses."""

    kind: ClassVar[str] = "email_changed"
    awaited: ClassVar[bool] = True

    former: str
    present: str
    changed_at: datetime
    address: str = ""

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Your e-mail address was changed"),
            heading=words("Your e-mail address was changed"),
            parts=[
                Paragraph(words("The e-mail address of your account at {tenant} was changed.", tenant=tenant)),
                Details(
                    [
                        (words("Former address"), self.former),
                        (words("New address"), self.present),
                        *_where(words, self.changed_at, self.address).lines,
                    ]
                ),
                Paragraph(words("From now on, sign in with the new address.")),
            ],
            note=_not_you(words, tenant),
        )


class KeyRevealed(Mail):
    """A merchant's API Auth Key was shown in full."""

    kind: ClassVar[str] = "key_revealed"

    account_id: str
    revealed_at: datetime
    address: str = ""

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("Your API Auth Key was revealed"),
            heading=words("Your API Auth Key was revealed"),
            parts=[
                Paragraph(
                    words("Somebody signed in to your account at {tenant} and was shown the key.", tenant=tenant)
                ),
                Details(
                    [(words("API Account ID"), self.account_id), *_where(words, self.revealed_at, self.address).lines]
                ),
                Button(words("Open API settings"), words.link(API_SETTINGS_PATH)),
            ],
            note=words("If it was not you or a colleague, rotate the key and change your password now."),
        )


class KeyRotated(Mail):
    """A merchant's API Auth Key was replaced by a new one."""

    kind: ClassVar[str] = "key_rotated"

    account_id: str
    rotated_at: datetime
    former_valid_until: datetime | None = None
    """Until when the former key is valid beside the new one; None: it has ended."""
    address: str = ""

    def content(self, words: Words, tenant: str) -> Content:
        if self.former_valid_until:
            until = words.instant(self.former_valid_until)
            former = words("The former key is valid until {until}. Give your systems the new key before.", until=until)
        else:
            former = words("The former key is not valid any more. Give your systems the new key.")
        return Content(
            subject=words("Your API Auth Key was rotated"),
            heading=words("Your API Auth Key was rotated"),
            parts=[
                Paragraph(words("Your account at {tenant} has a new API Auth Key.", tenant=tenant)),
                Details(
                    [(words("API Account ID"), self.account_id), *_where(words, self.rotated_at, self.address).lines]
                ),
                Paragraph(former),
                Button(words("Open API settings"), words.link(API_SETTINGS_PATH)),
            ],
            note=words("If it was not you or a colleague, rotate the key and change your password now."),
        )


class NewSignIn(Mail):
    """Somebody signed in from a place that was not seen before."""

    kind: ClassVar[str] = "new_sign_in"
    awaited: ClassVar[bool] = True

    signed_in_at: datetime
    address: str = ""
    device: str | None = None
    """Browser and system, as far as they are known."""

    def content(self, words: Words, tenant: str) -> Content:
        device = [(words("Device"), self.device)] if self.device else []
        return Content(
            subject=words("New sign-in to your account"),
            heading=words("New sign-in to your account"),
            parts=[
                Paragraph(words("Somebody signed in to your account at {tenant} from a new place.", tenant=tenant)),
                Details([*_where(words, self.signed_in_at, self.address).lines, *device]),
                Paragraph(words("If it was you, there is nothing to do.")),
                Button(words("See your sessions"), words.link(SESSIONS_PATH)),
            ],
            note=words("If it was not you, end that session and change your password now."),
        )


class OwnershipMoved(Mail):
    """A tenant has another owner. It goes to both."""

    kind: ClassVar[str] = "ownership_moved"

    former_owner: str
    new_owner: str
    moved_at: datetime

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("{tenant} has a new owner", tenant=tenant),
            heading=words("{tenant} has a new owner", tenant=tenant),
            parts=[
                Paragraph(words("The ownership of {tenant} was moved from one person to another.", tenant=tenant)),
                Details(
                    [
                        (words("Former owner"), self.former_owner),
                        (words("New owner"), self.new_owner),
                        (words("When"), words.instant(self.moved_at)),
                    ]
                ),
                Paragraph(words("The new owner has all permissions. The former owner stays a member of staff.")),
                Button(words("Open company settings"), words.link(COMPANY_PATH)),
            ],
            note=words("If you did not expect this, tell the operator of the platform at once."),
        )


ALL: tuple[type[Mail], ...] = (
    Invitation,
    PasswordReset,
    PasswordChanged,
    EmailVerification,
    EmailChangeRequested,
    EmailChanged,
    SecondFactorReset,
    KeyRevealed,
    KeyRotated,
    NewSignIn,
    OwnershipMoved,
)


def _where(words: Words, at: datetime, address: str) -> Details:
    return Details([(words("When"), words.instant(at)), *([(words("Network address"), address)] if address else [])])


def _not_you(words: Words, tenant: str) -> str:
    return words("If it was not you, write to {tenant} at once.", tenant=tenant)
