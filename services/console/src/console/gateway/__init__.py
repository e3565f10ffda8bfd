"""Calls of the services: what pages know of them comes from here, and nothing else in the console sends HTTP."""

from console.gateway.api import Api, Call, CallUndeclared, Part
from console.gateway.client import Answer, Gateway, Origin
from console.gateway.forwarding import forward, service_of
from console.gateway.problems import (
    Away,
    Changed,
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    PaymentRequired,
    Problem,
    TooMany,
    Unauthorized,
)

__all__ = [
    "Answer",
    "Api",
    "Away",
    "Call",
    "CallUndeclared",
    "Changed",
    "Conflict",
    "Forbidden",
    "Gateway",
    "Invalid",
    "Missing",
    "Origin",
    "Part",
    "PaymentRequired",
    "Problem",
    "TooMany",
    "Unauthorized",
    "forward",
    "service_of",
]
