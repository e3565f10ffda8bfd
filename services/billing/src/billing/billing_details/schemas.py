"""What tenants say of themselves to billing, in the API."""

from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.fields.merge_patch import Patch

Region = Annotated[
    str | None,
    ApiField(
        pattern=r"^[A-Z0-9]{1,3}$",
        description="Province or state where the tenant is taxed, as ISO 3166-2 has it behind the hyphen; null: not known.",
        examples=["QC"],
    ),
]


class BillingDetails(BaseModel):
    """Where a tenant is taxed."""

    object: Literal["billing_details"] = "billing_details"
    tenant_id: str
    country: str
    region: Region
    version: int


class BillingDetailsPatch(Patch):
    """What is to change of them; the next invoice goes by it."""

    region: Region = None
