"""Second factors in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input, Secret


class EnrolmentIn(Input):
    """A code of the authenticator app, which shows that it has the secret."""

    code: fields.Code = ApiField(description="The six digits that the authenticator app shows now.")


class SecondFactor(BaseModel):
    """Whether a person has a second factor."""

    object: Literal["second_factor"] = "second_factor"
    enrolled: bool = ApiField(description="Whether logging in asks for a code.", examples=[True])
    enrolled_at: datetime | None = ApiField(description="Since when.")
    recovery_codes_left: int = ApiField(description="Recovery codes that were not used.", examples=[10])
    required: bool = ApiField(
        description="Whether the tenant asks for one: without it a session can only enrol it.", examples=[False]
    )


class Enrolment(Secret):
    """The secret for the authenticator app. It counts once a code has confirmed it."""

    object: Literal["second_factor_enrolment"] = "second_factor_enrolment"
    secret: str = ApiField(description="The secret, in base32.", examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])
    uri: str = ApiField(
        description="The same as an address for a QR code.",
        examples=["otpauth://totp/Livraisons:ada%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=Livraisons"],
    )


class RecoveryCodes(Secret):
    """Recovery codes, each for one log-in without the authenticator app. Those of before are no longer valid."""

    object: Literal["recovery_codes"] = "recovery_codes"
    recovery_codes: list[str] = ApiField(
        description="Keep them where the phone is not; they are not shown again.", examples=[["mzxw-6ytb-oi2d-kn3p"]]
    )
