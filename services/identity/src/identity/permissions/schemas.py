"""The catalogue of permissions in the API."""

from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


class PermissionEntry(BaseModel):
    """One permission of the catalogue."""

    code: str
    description: str
    relevance: str = ApiField(description="dashboard, dashboard_and_api or platform.")


class PermissionCatalog(BaseModel):
    """All permissions."""

    object: Literal["permission_catalog"] = "permission_catalog"
    data: list[PermissionEntry]
