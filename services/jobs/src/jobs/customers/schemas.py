"""The customer as the API shows it, filters of the list, and erasures."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from jobs.search_index import SUBSTRING_CHARS_MIN
from shared.api import Input, ListQuery
from shared.events.jobs import ContactState
from shared.fields.contact import OptionalEmail, OptionalPhone
from shared.fields.text import NAME_CHARS_MAX, OptionalText, QueryText

JOBS_COUNTED_MAX = 1_000
"""Largest number of jobs that a customer's count shows."""
CUSTOMER_ID_CHARS_MAX = 1_000


class Customer(BaseModel):
    """The contact of one or more jobs. Jobs with the same phone number, else e-mail address, else name have the same customer."""

    object: Literal["customer"] = "customer"
    id: str = Field(
        description="Opaque id, stable for a customer. It changes if the secret of the installation changes."
    )
    contact: ContactState = Field(description="Contact of the latest job.")
    jobs_count: int = Field(
        le=JOBS_COUNTED_MAX,
        description=f"Number of jobs that are not deleted; {JOBS_COUNTED_MAX:,} means at least so many.",
    )
    first_job_at: datetime = Field(description="Instant when the first of these jobs was created.")
    last_job_at: datetime = Field(description="Instant when the last of these jobs was created.")


class CustomerFilters(ListQuery):
    """Which customers a list contains: those with a job that matches all conditions."""

    phone: OptionalPhone = Field(None, description="With this phone number, with its country code.")
    email: OptionalEmail = Field(None, description="With a job for this e-mail address; case does not matter.")
    name: QueryText = Field(
        None,
        min_length=SUBSTRING_CHARS_MIN,
        max_length=NAME_CHARS_MAX,
        description="With a job whose full name, family name or company begins with this text; case and accents do not matter.",
    )


class ErasureIn(Input):
    """Whose personal data to erase: that of all jobs that match any of these."""

    model_config = {"json_schema_extra": {"examples": [{"phone": "+15145550100"}], "minProperties": 1}}

    phone: OptionalPhone = Field(None, description="All jobs whose contact has this phone number.")
    email: OptionalEmail = Field(
        None,
        description="All jobs whose contact has this e-mail address; case does not matter.",
    )
    customer_id: OptionalText = Field(
        None, max_length=CUSTOMER_ID_CHARS_MAX, description="All jobs of this customer; an id of `GET /v1/customers`."
    )

    @model_validator(mode="after")
    def _require_customer(self) -> "ErasureIn":
        if not any((self.phone, self.email, self.customer_id)):
            raise PydanticCustomError("erasure_empty", "expected a phone number, an e-mail address or a customer")
        return self


class Erasure(BaseModel):
    """The result of one call."""

    object: Literal["erasure"] = "erasure"
    jobs_erased: int = Field(description="Number of jobs whose personal data this call erased, deleted ones included.")
    has_more: bool = Field(
        description="True if there are more: repeat the call, with a new Idempotency-Key if you use one."
    )
