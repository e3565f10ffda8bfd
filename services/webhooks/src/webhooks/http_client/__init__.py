"""The HTTP client that sends deliveries: it takes a message and a target and returns an outcome.

It makes no decisions and uses no database.
"""

from webhooks.http_client.connection_pool import IDLE_MAX
from webhooks.http_client.egress_guard import NotConnected
from webhooks.http_client.requests import HIDDEN, DeliveryTarget, Message, show_request
from webhooks.http_client.responses import Cause, CauseDetail, Outcome
from webhooks.http_client.rules import URL_LENGTH_MAX, Network, header_violations, url_violations
from webhooks.http_client.sender import Sender

__all__ = [
    "HIDDEN",
    "IDLE_MAX",
    "URL_LENGTH_MAX",
    "Cause",
    "CauseDetail",
    "DeliveryTarget",
    "Message",
    "Network",
    "NotConnected",
    "Outcome",
    "Sender",
    "header_violations",
    "show_request",
    "url_violations",
]
