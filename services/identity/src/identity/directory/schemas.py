"""The directory in the API."""

from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


class DirectoryMerchant(BaseModel):
    """A merchant by its name, whatever its status: it may have jobs."""

    object: Literal["merchant"] = "merchant"
    id: str
    name: str = ApiField(description="Name of the business.", examples=["Boulangerie Ada"])


class DirectoryLocation(BaseModel):
    """A location by its name, also one that is not in use any more: it may have jobs."""

    object: Literal["location"] = "location"
    id: str
    name: str
