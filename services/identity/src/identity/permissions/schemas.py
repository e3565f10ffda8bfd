"""The catalogue of permissions in the API."""

from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

PermissionRelevance = Literal["dashboard", "dashboard_and_api", "platform"]


class PermissionEntry(BaseModel):
    """One permission of the catalogue."""

    code: str
    description: str
    relevance: PermissionRelevance = ApiField(description="Where it counts.")


class PermissionCatalog(BaseModel):
    """All permissions."""

    object: Literal["permission_catalog"] = "permission_catalog"
    data: list[PermissionEntry]
