"""What all routes of one app share: the database, the access decision, the limits and the keys."""

from dataclasses import dataclass

from fastapi import Request

from shared.access.authentication import Access
from shared.access.request_log import RequestLog
from shared.api.in_flight import ArrivingBodies
from shared.api.rate_limits import RateLimits
from shared.crypto.encryptor import Encryptor
from shared.postgres.database import Database


@dataclass(frozen=True, slots=True)
class Edge:
    """The composition root puts it on `app.state.edge`."""

    database: Database
    access: Access
    request_log: RequestLog
    limits: RateLimits
    body_bytes_max: int
    public_body_bytes_max: int
    body_idle_seconds: float
    body_seconds: float
    arriving_bodies: ArrivingBodies
    cursor_secret: bytes
    response_encryptor: Encryptor


def edge_of(request: Request) -> Edge:
    """The edge of the app that serves this request."""
    edge: Edge = request.app.state.edge
    return edge
