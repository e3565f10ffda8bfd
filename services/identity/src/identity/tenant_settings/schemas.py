"""The settings of a tenant in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from identity.tenants import JOB_REVIEW_DESCRIPTION, NOTICES, RevealMode, SecondFactor
from shared.fields.merge_patch import Patch
from shared.fields.numbers import Flag, OptionalInteger

TOKEN_SECONDS_MIN = 60
TOKEN_SECONDS_MAX = 3600
SESSION_DAYS_MAX = 365

_REVEAL = (
    "How merchants get their API Auth Key: `step_up`, whenever they give their password again; `once`, a single time, after which no "
    "copy is stored; `off`, only in the answer of a rotation. Leaving `step_up` deletes the stored copies of all keys, at once and for "
    "ever; the keys themselves stay valid."
)
_TOKEN_SECONDS = "Life of a session token, in seconds; as long as the operator allows if it was never set."  # noqa: S105 - prose
_DAYS = "Life of a session, in days, after which its person logs in again; as long as the operator allows if it was never set."
_SECOND_FACTOR = "`required`: who logs in as an administrator needs a second factor."
_NOTICE = {
    "key_revealed": "A merchant's API Auth Key was revealed.",
    "key_rotated": "A merchant's API Auth Key was rotated.",
    "new_sign_in": "Somebody logged in from a place that was not seen before.",
    "trial_will_end": "The trial ends in a few days.",
    "trial_ended": "The trial has ended.",
    "payment_failed": "A payment failed.",
    "endpoint_warned": "A webhook endpoint fails, and will be disabled.",
    "endpoint_disabled": "A webhook endpoint was disabled.",
    "invoice": "There is a new invoice.",
}
assert tuple(_NOTICE) == NOTICES


def _notice(name: str) -> Flag:
    found: Flag = ApiField(description=_NOTICE[name], examples=[True])
    return found


def _notice_patch(name: str) -> Flag | None:
    found: Flag | None = ApiField(None, description=_NOTICE[name], examples=[False])
    return found


class Notices(BaseModel):
    """Which mails are sent. Mails without which somebody could not get in, or would not notice a stranger, have no switch."""

    key_revealed: Flag = _notice("key_revealed")
    key_rotated: Flag = _notice("key_rotated")
    new_sign_in: Flag = _notice("new_sign_in")
    trial_will_end: Flag = _notice("trial_will_end")
    trial_ended: Flag = _notice("trial_ended")
    payment_failed: Flag = _notice("payment_failed")
    endpoint_warned: Flag = _notice("endpoint_warned")
    endpoint_disabled: Flag = _notice("endpoint_disabled")
    invoice: Flag = _notice("invoice")


_Switch = Annotated[Flag | None, fields.KEPT_IF_ABSENT]


class NoticesPatch(Patch):
    """Mails to switch on or off."""

    key_revealed: _Switch = _notice_patch("key_revealed")
    key_rotated: _Switch = _notice_patch("key_rotated")
    new_sign_in: _Switch = _notice_patch("new_sign_in")
    trial_will_end: _Switch = _notice_patch("trial_will_end")
    trial_ended: _Switch = _notice_patch("trial_ended")
    payment_failed: _Switch = _notice_patch("payment_failed")
    endpoint_warned: _Switch = _notice_patch("endpoint_warned")
    endpoint_disabled: _Switch = _notice_patch("endpoint_disabled")
    invoice: _Switch = _notice_patch("invoice")


class TenantSettings(BaseModel):
    """The settings of the tenant that you act in. Their version is the tenant's."""

    object: Literal["tenant_settings"] = "tenant_settings"
    tenant_id: str
    job_review: bool = ApiField(description=JOB_REVIEW_DESCRIPTION, examples=[False])
    reveal: RevealMode = ApiField(description=_REVEAL)
    second_factor: SecondFactor = ApiField(description=_SECOND_FACTOR)
    session_token_seconds: int = ApiField(description=_TOKEN_SECONDS, examples=[300])
    session_days: int = ApiField(description=_DAYS, examples=[30])
    notices: Notices = ApiField(description="Which mails are sent.")
    updated_at: datetime
    version: int


class TenantSettingsPatch(Patch):
    """Settings to change."""

    job_review: Annotated[Flag | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description=f"{JOB_REVIEW_DESCRIPTION} Existing jobs stay as they are.", examples=[True]
    )
    reveal: Annotated[RevealMode | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description=_REVEAL, examples=["step_up"]
    )
    second_factor: Annotated[SecondFactor | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description=_SECOND_FACTOR, examples=["optional"]
    )
    session_token_seconds: OptionalInteger = ApiField(
        None,
        ge=TOKEN_SECONDS_MIN,
        le=TOKEN_SECONDS_MAX,
        description=f"{_TOKEN_SECONDS} Null: that default. It counts from the next token.",
        examples=[300],
    )
    session_days: OptionalInteger = ApiField(
        None,
        ge=1,
        le=SESSION_DAYS_MAX,
        description=f"{_DAYS} Null: that default. Running sessions end sooner, too.",
        examples=[14],
    )
    notices: Annotated[NoticesPatch | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description="Mails to switch on or off."
    )
