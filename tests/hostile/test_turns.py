"""What is begun in one turn of the event loop, and in which order."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from shared.chassis.acceptor import Acceptor, listeners
from shared.chassis.connection_bounds import Addresses
from shared.chassis.settings import ProcessSettings
from shared.chassis.turns import Lane, Turns
from tests.harness.raw_http import connected
from tests.harness.waiting import eventually

CROWD = 40


def turns(**settings: Any) -> Turns:
    return Turns(ProcessSettings(port=1, **settings))


async def test_a_turn_begins_a_bounded_number_and_leaves_out_none() -> None:
    lane = turns(requests_per_turn_max=4).known
    begun = 0
    counts: list[int] = []

    def begin() -> None:
        nonlocal begun
        begun += 1

    for _ in range(CROWD):
        lane.take("127.0.0.2", begin)
    while begun < CROWD:
        counts.append(begun)
        await asyncio.sleep(0)
    counts.append(begun)

    assert counts[0] == 4
    assert max(later - earlier for earlier, later in pairwise(counts)) <= 4
    assert not lane.is_waiting


async def test_an_address_with_one_request_does_not_wait_for_those_of_a_crowd() -> None:
    lane = turns().strangers
    begun: list[str] = []
    for number in range(CROWD):
        lane.take("127.0.0.2", partial(begun.append, f"crowd {number}"))
    lane.take("127.0.0.3", partial(begun.append, "other"))

    await eventually(lambda: len(begun) == CROWD + 1, what="all have begun")

    assert begun.index("other") <= 2
    assert [one for one in begun if one != "other"] == [f"crowd {number}" for number in range(CROWD)]


async def test_an_address_that_comes_back_at_once_takes_turns_with_the_others() -> None:
    lane = turns(requests_per_turn_max=1).known
    begun: list[str] = []

    def come_back() -> None:
        begun.append("returning")
        lane.take("127.0.0.3", come_back)

    for _ in range(CROWD):
        lane.take("127.0.0.2", partial(begun.append, "crowd"))
    lane.take("127.0.0.3", come_back)
    await eventually(lambda: len(begun) >= CROWD, what="half of the crowd has begun")

    assert begun[1:7] == ["crowd", "returning", "crowd", "returning", "crowd", "returning"]


async def test_more_than_fits_into_a_turn_begins_one_by_one_while_others_are_about() -> None:
    for addresses, at_once in (["127.0.0.2"], 4), (["127.0.0.2", "127.0.0.3"], 1):
        made = turns(requests_per_turn_max=4)
        begun: list[int] = []
        counts: list[int] = []
        for address in addresses:
            made.enter(object(), address, is_known=True)
        for number in range(CROWD):
            made.known.take("127.0.0.2", partial(begun.append, number))
        while len(begun) < CROWD - 4:
            counts.append(len(begun))
            await asyncio.sleep(0)

        assert {later - earlier for earlier, later in pairwise(counts[1:])} == {at_once}


async def test_strangers_have_half_of_the_time_while_a_known_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.chassis.turns.KNOWN_SECONDS", 60)
    made = turns()
    begun: list[float] = []
    four_have_begun = asyncio.Event()
    work_seconds = 0.005

    def work() -> None:
        begun.append(time.monotonic())
        time.sleep(work_seconds)
        if len(begun) == 4:
            four_have_begun.set()

    request = object()
    made.enter(request, "127.0.0.3", is_known=True)
    for _ in range(8):
        made.strangers.take("127.0.0.2", work)
    await four_have_begun.wait()
    made.leave(request, "127.0.0.3")
    for _ in range(6):
        await asyncio.sleep(0)

    # The event loop counts whole milliseconds.
    assert all(later - earlier >= 2 * work_seconds - 0.001 for earlier, later in pairwise(begun[:4]))
    assert len(begun) == 8


async def test_known_clients_come_before_strangers_and_new_connections_after_both() -> None:
    made = turns(requests_per_turn_max=1)
    begun: list[str] = []
    for lane, name in ((made.openings, "open"), (made.strangers, "stranger"), (made.known, "known")):
        for _ in range(3):
            lane.take("127.0.0.2", partial(begun.append, name))

    await eventually(lambda: len(begun) == 9, what="all have begun")

    assert begun[3:7] == ["known", "stranger", "known", "stranger"]
    assert begun[-2:] == ["open", "open"]


class NoTurn(Lane):
    """A lane whose turn does not come."""

    def __init__(self) -> None:
        super().__init__(turns(), 0)
        self.taken: list[Callable[[], None]] = []

    def take(self, address: str, begin: Callable[[], None]) -> None:
        self.taken.append(begin)


async def test_a_connection_is_not_opened_before_something_arrives_and_its_turn_has_come() -> None:
    opened: list[asyncio.Protocol] = []
    lane = NoTurn()

    def open_one() -> asyncio.Protocol:
        opened.append(asyncio.Protocol())
        return opened[-1]

    (listener,) = await listeners("127.0.0.1", 0, 8)
    port = listener.getsockname()[1]
    acceptor = Acceptor(listener, open_one, addresses=Addresses(2, ()), lane=lane, refusal=lambda: b"no room")
    try:
        async with connected(port) as silent, connected(port) as first, connected(port) as second:
            await first.send(b"a")
            await eventually(lambda: len(lane.taken) == 1, what="the first one waits for its turn")
            await second.send(b"a")
            assert await silent.ended()
            await eventually(lambda: len(lane.taken) == 2, what="both wait")
            async with connected(port) as third:
                assert await third.rest() == b"no room"
            assert opened == []
            lane.taken[0]()
            await eventually(lambda: len(opened) == 1, what="the first one is opened")
    finally:
        acceptor.close()
