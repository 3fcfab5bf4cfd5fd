"""Single flight: one engine call, any number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from otel_tts.service.flight import Flight, Flights
from otel_tts.service.queue import QueueFullError

CHUNKS = [b"a", b"b", b"c"]


class Plane:
    """An engine that counts what is asked of it, with a slot that knows whether it is held."""

    def __init__(self, *, error: Exception | None = None, full: bool = False) -> None:
        self.calls = self.pulls = 0
        self.held = self.closed = False
        self.turn, self.more = asyncio.Event(), asyncio.Event()
        self.turn.set()
        self.more.set()
        self.error = error
        self.full = full

    def start(self) -> Flight:
        """A call of it."""
        self.calls += 1
        return Flight(self.slot(), self.chunks())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Its turn, when `turn` says so."""
        await self.turn.wait()
        if self.full:
            raise QueueFullError(1)
        self.held = True
        yield 0.5
        self.held = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its audio, as `more` says so."""
        try:
            for chunk in CHUNKS:
                self.pulls += 1
                await self.more.wait()
                yield chunk
            if self.error:
                raise self.error
        finally:
            self.closed = True


async def ride(flights: Flights, plane: Plane, key: str | None = "key") -> tuple[bool, list[bytes]]:
    """One request: whether it leads, and what it hears."""
    async with flights.join(key, plane.start) as (flight, leads):
        assert await flight.admitted() == 0.5
        return leads, [chunk async for chunk in flight.read()]


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(8):
        await asyncio.sleep(0)


async def test_twenty_identical_requests_are_one_call() -> None:
    """One leads, all hear everything, the slot is free again, and the next request is a call of its own."""
    flights, plane = Flights(), Plane()
    rides = await asyncio.gather(*(ride(flights, plane) for _ in range(20)))
    assert rides == [(True, CHUNKS), *[(False, CHUNKS)] * 19]
    assert (plane.calls, plane.held, plane.closed) == (1, False, True)
    assert await ride(flights, plane) == (True, CHUNKS)
    assert plane.calls == 2


async def test_without_a_key_nothing_is_shared() -> None:
    """Requests that want audio of their own get it."""
    flights, plane = Flights(), Plane()
    assert await asyncio.gather(*(ride(flights, plane, None) for _ in range(2))) == [(True, CHUNKS)] * 2
    assert plane.calls == 2


async def test_the_engine_is_pulled_only_for_who_listens() -> None:
    """Nobody asks for more: nothing more is made. Who comes late hears the beginning at once."""
    flights, plane = Flights(), Plane()
    async with flights.join("key", plane.start) as (flight, _):
        await flight.admitted()
        first = flight.read()
        assert await anext(first) == b"a"
        await settle()
        assert plane.pulls == 1
        async with flights.join("key", plane.start) as (same, leads):
            assert (same is flight, leads, await same.begun()) == (True, False, True)
            second = same.read()
            assert [await anext(second), await anext(second)] == [b"a", b"b"]
        assert [chunk async for chunk in first] == [b"b", b"c"]
        assert not plane.held


@pytest.mark.parametrize("where", ["queue", "engine"])
async def test_a_cancelled_leader_costs_the_others_nothing(where: str) -> None:
    """Whether it waits for its turn or for audio: the call goes on, once, for who still wants it."""
    flights, plane = Flights(), Plane()
    gate = plane.turn if where == "queue" else plane.more
    gate.clear()
    leader = asyncio.create_task(ride(flights, plane))
    await settle()
    followers = [asyncio.create_task(ride(flights, plane)) for _ in range(3)]
    await settle()
    leader.cancel()
    await asyncio.wait((leader,))
    gate.set()
    assert await asyncio.gather(*followers) == [(False, CHUNKS)] * 3
    assert (leader.cancelled(), plane.calls, plane.held) == (True, 1, False)


@pytest.mark.parametrize("where", ["queue", "engine"])
async def test_when_all_have_left_the_engine_stops(where: str) -> None:
    """The slot is given back, the engine is closed, and the next request finds no remains."""
    flights, plane = Flights(), Plane()
    gate = plane.turn if where == "queue" else plane.more
    gate.clear()
    riders = [asyncio.create_task(ride(flights, plane)) for _ in range(2)]
    await settle()
    assert plane.held == (where == "engine")
    for rider in riders:
        rider.cancel()
    await asyncio.wait(riders)
    await settle()
    assert (plane.held, plane.calls, plane.closed) == (False, 1, where == "engine")
    gate.set()
    assert await ride(flights, plane) == (True, CHUNKS)


async def test_the_engines_failure_is_everybodys() -> None:
    """Each hears the audio before it, and then gets the very exception."""
    flights, plane = Flights(), Plane(error=RuntimeError("broken"))

    async def listen() -> tuple[list[bytes], Exception | None]:
        received: list[bytes] = []
        async with flights.join("key", plane.start) as (flight, _):
            await flight.admitted()
            try:
                async for chunk in flight.read():
                    received.append(chunk)  # noqa: PERF401 - what was heard before the failure counts
            except RuntimeError as error:
                return received, error
        return received, None

    assert await asyncio.gather(listen(), listen()) == [(CHUNKS, plane.error)] * 2
    assert (plane.calls, plane.held) == (1, False)


async def test_no_place_in_the_queue_is_everybodys_too() -> None:
    """And nothing of it remains: the next request is asked anew."""
    flights, plane = Flights(), Plane(full=True)
    results = await asyncio.gather(*(ride(flights, plane) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [QueueFullError] * 3
    plane.full = False
    assert await ride(flights, plane) == (True, CHUNKS)


@pytest.mark.timeout(10)  # what this holds would otherwise block the loop, with every timeout in it
async def test_who_comes_in_the_moment_in_which_a_pull_ends_gives_way() -> None:
    """A request that runs between the end of a pull and the news of it hears the rest like the others."""
    plane, flights = Plane(), Flights()
    plane.more.clear()
    first = asyncio.create_task(ride(flights, plane))
    while not plane.pulls:  # noqa: ASYNC110 - the plane tells no event of ours
        await asyncio.sleep(0)
    plane.more.set()  # the pull goes on in the loop's next round, and right behind it
    second = asyncio.create_task(ride(flights, plane))
    assert [await first, await second] == [(True, CHUNKS), (False, CHUNKS)]
    assert plane.calls == 1
