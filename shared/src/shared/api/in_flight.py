"""Requests in flight: at most so many in a process, and of one address. A request counts only when its body is complete.

Until then its bytes count: those of one credential that have arrived of bodies that are not complete have a bound.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive, Scope

from shared.chassis.http_protocol import body_has_arrived
from shared.errors import TooManyRequests, Unavailable

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods whose routes read the body before they do anything."""


class Places:
    """The places for requests of one process."""

    def __init__(self, requests_max: int, address_max: int):
        self._requests_max = requests_max
        self._address_max = address_max
        self._taken = 0
        self._of_address: Counter[str] = Counter()

    def take(self, address: str) -> None:
        """Raises `Unavailable` when all places are taken, and `TooManyRequests` when the address has its share."""
        if self._taken >= self._requests_max:
            raise Unavailable("too many requests are under way", code="overloaded")
        if self._of_address[address] >= self._address_max:
            raise TooManyRequests(
                f"this address has {self._address_max} requests under way: wait for answers",
                code="too_many_in_flight",
                headers={"Retry-After": "1"},
            )
        self._taken += 1
        self._of_address[address] += 1

    def give_back(self, address: str) -> None:
        self._taken -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]


class ArrivingBodies:
    """What has arrived of bodies that are not complete, by credential (of requests that need none: by address)."""

    def __init__(self, bytes_max: int):
        self._bytes_max = bytes_max
        self._bytes: Counter[str] = Counter()
        self._bodies: Counter[str] = Counter()

    @contextmanager
    def one_of(self, sender: str) -> Iterator[Callable[[int], None]]:
        """A body of this sender; what arrives of it is to be counted with the result.

        Counting raises `TooManyRequests` when the sender has too many bytes in more bodies than this one, which has a bound of its own.
        """
        counted = 0
        self._bodies[sender] += 1

        def count(arrived: int) -> None:
            nonlocal counted
            counted += arrived
            self._bytes[sender] += arrived
            if self._bytes[sender] > self._bytes_max and self._bodies[sender] > 1:
                raise TooManyRequests(
                    f"bodies of this sender that are not complete have more than {self._bytes_max} bytes: complete some first",
                    code="too_many_bodies",
                    headers={"Retry-After": "1", "Connection": "close"},
                )

        try:
            yield count
        finally:
            self._bytes[sender] -= counted
            self._bodies[sender] -= 1
            if not self._bodies[sender]:
                del self._bytes[sender], self._bodies[sender]


class Place:
    """The place of one request: taken at once, or, while its body is on its way, by `receive` at its end."""

    def __init__(self, places: Places, scope: Scope, receive: Receive):
        self._places = places
        self._address = scope["client"][0] if scope.get("client") else ""
        self._receive = receive
        self._is_taken = False
        self.waits_for_body = scope["method"] in _WITH_BODY and not body_has_arrived(scope)

    def take(self) -> None:
        """Raises `Unavailable` or `TooManyRequests`."""
        self._places.take(self._address)
        self._is_taken = True

    async def receive(self) -> Message:
        message = await self._receive()
        if not self._is_taken and message["type"] == "http.request" and not message.get("more_body", False):
            self.take()
        return message

    def give_back(self) -> None:
        if self._is_taken:
            self._is_taken = False
            self._places.give_back(self._address)
