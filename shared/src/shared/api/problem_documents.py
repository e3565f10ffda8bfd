"""Problem documents as OpenAPI describes them: what all have, and the further members of each kind.

A member that a problem does not have is left out. Tests hold every answer against these models.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from shared import problem_types


def _open(schema: dict[str, Any]) -> None:
    """Clients ignore members that they do not know (RFC 9457)."""
    schema.pop("additionalProperties", None)


def _absent(value: object) -> bool:
    return value is None


def _member(description: str, *examples: Any) -> Any:
    return Field(None, description=description, examples=list(examples) or None, exclude_if=_absent)


Text = str | SkipJsonSchema[None]
Count = int | SkipJsonSchema[None]
Texts = list[str] | SkipJsonSchema[None]


class ProblemError(BaseModel):
    """One violation: `pointer` names a place in the body, `parameter` one outside it."""

    pointer: Text = _member("JSON pointer (RFC 6901) into the body; empty for the whole body.", "/contact/phone")
    parameter: Text = _member("Name of the query parameter, path parameter or header.", "limit")
    code: str = Field(description="What is wrong, for programs.", examples=["phone_number"])
    message: str = Field(
        description="What is wrong, for people.",
        examples=["expected a phone number with its country code, such as +15145550100"],
    )


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_open)

    type: Annotated[
        str,
        Field(
            description="Where the page of this type of problem is, relative to the service that answered.",
            examples=["/problems/invalid"],
            json_schema_extra={"format": "uri-reference"},
        ),
    ]
    title: str = Field(description="The type of problem, for people.", examples=["Invalid request"])
    status: int = Field(description="The status of the answer.", ge=400, le=599, examples=[422])
    detail: str = Field(description="This problem, for people.", examples=["the request is not valid: see errors"])
    instance: str = Field(
        description="The request id, as in `X-Request-Id`.", examples=["req_01h455vb4pex5vsknk084sn02q"]
    )
    code: str = Field(description="The type of problem, for programs: the last part of `type`.", examples=["invalid"])


class InvalidProblem(Problem):
    """A request that can be read, but whose content is not valid."""

    errors: list[ProblemError] | SkipJsonSchema[None] = _member("All that is wrong, up to 100.")
    columns: Texts = _member("The columns that a CSV file can have.", ["reference_id", "contact.phone"])


class ConflictProblem(Problem):
    """A request that contradicts the present state."""

    existing_id: Text = _member("Id of the record that has the value, or was made.", "job_01h455vb4pex5vsknk084sn02q")
    current_status: Text = _member("The present status of the record.", "in_progress")
    allowed_transitions: Texts = _member(
        "Statuses to which a command can move it now, or the commands that are possible now.",
        ["completed", "cancelled"],
    )
    requested: Text = _member("The command that was asked for.", "start")
    fields: Texts = _member("Fields that cannot be changed now.", ["priority"])
    editable_fields: Texts = _member("Fields that can be changed now.", ["metadata", "tags"])
    item_index: Count = _member("Place of the item of this request that has the value, from 0.", 0)
    merchant_id: Text = _member("The merchant that is disabled.", "mer_01h455vb4pex5vsknk084sn02q")
    merchant_ids: Texts = _member("Merchants that need the location.", ["mer_01h455vb4pex5vsknk084sn02q"])
    location_ids: Texts = _member("Locations of which none is active.", ["loc_01h455vb4pex5vsknk084sn02q"])
    current_level: Count = _member("The merchant's present level.", 1)
    required_level: Count = _member("The level that is needed.", 2)
    maximum: Count = _member("How many records of this kind there may be.", 1000)
    expected: Count = _member("The amount that the request expected, in the currency's minor unit.", 5145)
    amount_due: Count = _member("What would be to pay now, in the currency's minor unit.", 4900)
    actions_max: Count = _member("How many actions a job may have.", 500)


class PreconditionFailedProblem(Problem):
    """A record that has changed since it was read."""

    current_version: Count = _member("The present version of the record.", 3)


class PaymentRequiredProblem(Problem):
    """A tenant without access to the API."""

    subscription_status: Text = _member("The status of the tenant's subscription.", "expired")
    trial_ends_at: Annotated[Text, Field(json_schema_extra={"format": "date-time"})] = _member(
        "First instant after the trial.", "2030-01-31T09:00:00Z"
    )


class ForbiddenProblem(Problem):
    """A caller that may not do this."""

    required: Texts = _member("Permissions that it needs.", ["settings.staff.read"])
    missing: Texts = _member("Permissions that the caller would have to hold.", ["orders.dispatch"])


class PayloadTooLargeProblem(Problem):
    """A body with too many bytes."""

    bytes_max: Count = _member("Bytes that the body may have.", 262144)


class UnsupportedMediaTypeProblem(Problem):
    """A body of a type, charset or encoding that is not read here."""

    accepted: Texts = _member("Media types that are read here.", ["application/json"])


class TooManyRequestsProblem(Problem):
    """Too many requests for now."""

    retry_after_seconds: Count = _member("Seconds to wait, as in `Retry-After`.", 1)
    tests_max: Count = _member("Test events that may be under way at once.", 5)


KINDS: dict[int, type[Problem]] = {
    402: PaymentRequiredProblem,
    403: ForbiddenProblem,
    409: ConflictProblem,
    412: PreconditionFailedProblem,
    413: PayloadTooLargeProblem,
    415: UnsupportedMediaTypeProblem,
    422: InvalidProblem,
    429: TooManyRequestsProblem,
}
"""The model of the problems with each status; all others have no further members."""


def kind_of(status: int) -> type[Problem]:
    """The model of the problems with this status."""
    return KINDS.get(status, Problem)


def example(code: str) -> dict[str, Any]:
    """A document with this code. Raises `KeyError`, or `ValidationError` if the type has members that its status has not."""
    document = problem_types.example(code)
    return kind_of(document["status"]).model_validate(document).model_dump(mode="json")
