"""The catalogue of permissions, and their explanation, in the API."""

from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.access.principals import Via
from shared.api import shown_as
from shared.api.introspection import PrincipalKind

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


HeldBy = Literal["owner", "section", "permission", "merchant"]
GranterKind = Literal["platform", "owner", "staff"]


class Granter(BaseModel):
    """Somebody who can put it right."""

    kind: Annotated[str, shown_as(GranterKind)] = ApiField(description="What they are.", examples=["owner"])
    id: str | None = ApiField(
        description="The user; null for the platform, and for merchants who ask.",
        examples=["usr_01h455vb4pex5vsknk084sn02q"],
    )
    name: str | None = ApiField(description="Their name.", examples=["Odile Owner"])


class Missing(BaseModel):
    """One thing for which the subject would be refused."""

    code: str = ApiField(
        description="The code of the problem that the subject would get.", examples=["permission_missing"]
    )
    title: str = ApiField(description="Its title.", examples=["A permission is missing"])
    remedy: str = ApiField(description="What to do.", examples=["Ask for the permission."])
    needed: list[str] = ApiField(
        description="Permissions that somebody needs to put it right.", examples=[["settings.staff.write"]]
    )
    granters: list[Granter] = ApiField(
        description="Who can put it right: the owner first, 20 at most. Nobody: it is no matter of permissions."
    )


class Explanation(BaseModel):
    """Whether a subject may do what a permission opens, and why."""

    object: Literal["permission_explanation"] = "permission_explanation"
    subject: str = ApiField(
        description="Who was asked about: a user, a merchant, an API key or an API Account ID.",
        examples=["usr_01h455vb4pex5vsknk084sn02q"],
    )
    principal: PrincipalKind = ApiField(description="What the subject is.", examples=["staff"])
    credential: Via = ApiField(description="What the subject would present; `pair`: API credentials.")
    permission: str = ApiField(description="The permission.", examples=["orders.jobs.write"])
    allowed: bool = ApiField(description="Whether an endpoint that requires it would let the subject in now.")
    held_by: HeldBy | None = ApiField(
        description="By what the subject holds the permission: as owner, by a section, by the permission itself, as merchant; null: it "
        "does not hold it.",
        examples=["section"],
    )
    granted_code: str | None = ApiField(
        description="The granted code that includes the permission.", examples=["orders"]
    )
    missing: list[Missing] = ApiField(
        description="All that stands in the way, in the order in which it is checked. Whether the subject's rows include a certain one is "
        "another question."
    )
