"""The line before an engine."""

from __future__ import annotations

import asyncio

import pytest

from otel_tts.service.queue import QueueFullError, RequestQueue


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        """The reading."""
        return self.now


async def taken(queue: RequestQueue, leave: asyncio.Event, waits: list[float]) -> None:
    """One request, which notes how long it waited and stays until it may leave."""
    async with queue.slot() as waited:
        waits.append(waited)
        await leave.wait()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiting_is_measured_and_first_come_is_first_served() -> None:
    """Who finds a free slot waits for nothing; the others get theirs in the order in which they came."""
    clock, leave, waits = Clock(), [asyncio.Event() for _ in range(3)], list[float]()
    queue = RequestQueue(1, 2, clock)
    tasks = []
    for event in leave:
        tasks.append(asyncio.create_task(taken(queue, event, waits)))
        await settle()
        clock.now += 1
    for event in leave:
        event.set()
        await settle()
        clock.now += 10
    await asyncio.gather(*tasks)
    assert waits == [0, 2, 11]


async def test_a_full_queue_refuses_at_once_and_tells_when_to_come_back() -> None:
    """The estimate is what the line needs at the usual pace."""
    clock, leave, waits = Clock(), asyncio.Event(), list[float]()
    queue = RequestQueue(2, 3, clock)
    async with queue.slot():
        clock.now = 4
    tasks = [asyncio.create_task(taken(queue, leave, waits)) for _ in range(5)]
    await settle()
    with pytest.raises(QueueFullError) as full:
        async with queue.slot():
            pass
    assert full.value.retry_after == 4 * 3 / 2
    leave.set()
    await asyncio.gather(*tasks)
    async with queue.slot() as waited:
        assert waited == 0


async def test_who_stops_waiting_gives_the_place_up() -> None:
    """A cancelled request holds neither a place in the line nor a slot."""
    leave, waits = asyncio.Event(), list[float]()
    queue = RequestQueue(1, 1)
    holder = asyncio.create_task(taken(queue, leave, waits))
    await settle()
    for _ in range(3):
        waiter = asyncio.create_task(taken(queue, leave, waits))
        await settle()
        waiter.cancel()
        await asyncio.wait((waiter,))
    leave.set()
    await holder
    async with queue.slot() as waited:
        assert waited < 1
    assert len(waits) == 1
