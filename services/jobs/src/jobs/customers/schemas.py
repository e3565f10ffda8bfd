"""Customers: whom the jobs visit, told apart by phone number, else e-mail address, else name."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from jobs.fields import EmailAddress, OptionalText, PhoneNumber, QueryText
from jobs.job_store import COMPANY_CHARS_MAX, EMAIL_CHARS_MAX, PHONE_CHARS_MAX
from jobs.search_index import SUBSTRING_CHARS_MIN
from shared.api import Input
from shared.events.jobs import ContactState

JOBS_COUNTED_MAX = 1_000
CUSTOMER_ID_CHARS_MAX = 1_000


class Customer(BaseModel):
    """Whom jobs visit: those with one phone number, else one e-mail address, else one name are the same customer."""

    object: Literal["customer"] = "customer"
    id: str = Field(
        description="Opaque; the same whenever the customer is the same. It changes when the installation's secret does."
    )
    contact: ContactState = Field(description="As the latest job has it.")
    jobs_count: int = Field(
        le=JOBS_COUNTED_MAX, description=f"Jobs that are not deleted; {JOBS_COUNTED_MAX:,} means so many or more."
    )
    first_job_at: datetime = Field(description="When the first of these jobs was created.")
    last_job_at: datetime = Field(description="When the latest of them was created.")


class CustomerFilters(Input):
    """Which customers a list shows; all conditions hold together, and for one and the same job."""

    phone: PhoneNumber = Field(
        None, max_length=PHONE_CHARS_MAX, description="With this phone number, country code included."
    )
    email: EmailAddress = Field(
        None, max_length=EMAIL_CHARS_MAX, description="With a job for this e-mail address, whatever its case."
    )
    name: QueryText = Field(
        None,
        min_length=SUBSTRING_CHARS_MIN,
        max_length=COMPANY_CHARS_MAX,
        description="With a job whose full name, family name or company begins so, whatever case and accents.",
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_paging(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if name not in ("limit", "cursor")}


class ErasureIn(Input):
    """Whose personal data to erase: every job that any of these names."""

    model_config = {"json_schema_extra": {"examples": [{"phone": "+15145550100"}], "minProperties": 1}}

    phone: PhoneNumber = Field(
        None, max_length=PHONE_CHARS_MAX, description="All jobs whose contact has this phone number."
    )
    email: EmailAddress = Field(
        None,
        max_length=EMAIL_CHARS_MAX,
        description="All jobs whose contact has this e-mail address, whatever its case.",
    )
    customer_id: OptionalText = Field(
        None, max_length=CUSTOMER_ID_CHARS_MAX, description="All jobs of this customer of `GET /v1/customers`."
    )

    @model_validator(mode="after")
    def _names_somebody(self) -> "ErasureIn":
        if not any((self.phone, self.email, self.customer_id)):
            raise PydanticCustomError("erasure_empty", "name a phone number, an e-mail address or a customer")
        return self


class Erasure(BaseModel):
    """What one call has erased."""

    object: Literal["erasure"] = "erasure"
    jobs_erased: int = Field(description="Jobs whose personal data this call has erased, deleted ones included.")
    has_more: bool = Field(description="Whether there are more: repeat the call, with another Idempotency-Key if any.")
