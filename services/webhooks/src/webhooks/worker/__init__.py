"""Delivering: claim, attempt, record, in lanes that keep one endpoint from holding up another."""

from webhooks.worker.dispatcher import Dispatcher
from webhooks.worker.sender import Sender

__all__ = ["Dispatcher", "Sender"]
