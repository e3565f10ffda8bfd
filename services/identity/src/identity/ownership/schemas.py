"""The transfer of a tenant's ownership in the API."""

from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity.authentication import PasswordAgain
from identity.users import User
from shared.ids import UserId


class OwnershipIn(PasswordAgain):
    """Who owns the tenant from now on, and the password of the present owner, unless the session is stepped up."""

    user_id: UserId = ApiField(description="An active member of staff.")


class Ownership(BaseModel):
    """A tenant's owner, and who was it before."""

    object: Literal["ownership"] = "ownership"
    tenant_id: str
    owner: User = ApiField(description="The owner from now on.")
    former_owner: User = ApiField(description="The former owner: staff with all permissions, who can be disabled now.")
    version: int = ApiField(description="The version of the tenant.")
