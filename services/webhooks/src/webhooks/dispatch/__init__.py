"""Dispatch: takes first attempts from the fan-out and due deliveries from the queue, schedules them fairly, writes their results."""

from webhooks.dispatch.dispatcher import Dispatcher
from webhooks.dispatch.throttle import ThrottleLimits

__all__ = ["Dispatcher", "ThrottleLimits"]
