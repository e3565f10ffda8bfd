"""The request log in the API, and the filters of its list."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity.audit import ServiceName
from shared.api import shown_as

StatusClass = Literal["4xx", "5xx"]


@dataclass(frozen=True, slots=True)
class RequestFilters:
    """Which failed requests are asked for; None: any."""

    credential_id: str | None = None
    service: str | None = None
    status_class: StatusClass | None = None
    code: str | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None


class FailedRequest(BaseModel):
    """A request with a valid credential that was answered with an error."""

    object: Literal["failed_request"] = "failed_request"
    id: str
    created_at: datetime = ApiField(description="When it was answered.")
    service: Annotated[str, shown_as(ServiceName)] = ApiField(description="The service that answered.")
    credential_id: str = ApiField(
        description="API Account ID, or id of the API key.", examples=["acct_01h455vb4pex5vsknk084sn02q"]
    )
    subject_id: str | None = ApiField(
        description="The merchant or user whose credential it is; null for a platform key.",
        examples=["mer_01h455vb4pex5vsknk084sn02q"],
    )
    livemode: bool
    method: str = ApiField(description="The method.", examples=["POST"])
    path: str = ApiField(description="The path of the route, without ids.", examples=["/v1/jobs/{job_id}"])
    status: int = ApiField(description="The status of the answer; 499: the client went away before.", examples=[422])
    code: str | None = ApiField(
        description="The code of the problem; null where no problem was sent.", examples=["invalid"]
    )
    request_id: str
    milliseconds: float = ApiField(
        description="Milliseconds from the request's first byte to the answer's last.", examples=[3.4]
    )


class RequestHour(BaseModel):
    """The requests of one hour."""

    hour: datetime = ApiField(description="The beginning of the hour.", examples=["2030-01-31T09:00:00Z"])
    calls: int = ApiField(description="All requests.", examples=[171])
    errors: int = ApiField(description="Those that were answered with a status of 400 or more.", examples=[2])


class RequestCounts(BaseModel):
    """Requests by the hour."""

    object: Literal["request_counts"] = "request_counts"
    calls: int = ApiField(description="All requests of these hours.", examples=[4120])
    errors: int = ApiField(description="Those of them that were answered with a status of 400 or more.", examples=[37])
    hours: list[RequestHour] = ApiField(description="Every hour, the present one last.")
