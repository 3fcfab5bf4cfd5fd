"""The queue before an engine, with a limit for concurrent syntheses and one for waiting requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from otel_tts.errors import OtelTtsError

_SMOOTHING = 0.2  # the weight of the latest synthesis in the estimate of how long one takes


class QueueFullError(OtelTtsError):
    """Nobody else may wait. ``retry_after``: seconds after which there should be room, as far as can be told."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after


class RequestQueue:
    """``concurrency`` slots, and at most ``size`` requests waiting for one, first come, first served. For one event loop.

    Args:
        concurrency: how many slots.
        size: how many requests may wait.
        clock: returns the current time in seconds.
    """

    def __init__(self, concurrency: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._concurrency = concurrency
        self._size = size
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting = 0
        self._usual = 0.0  # seconds a slot is held

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """A slot for the length of the block; gives the seconds it was waited for.

        Raises:
            QueueFullError: at once, when all slots are taken and the line is full.
        """
        if self._slots.locked() and self._waiting >= self._size:
            raise QueueFullError(max(0.1, self._usual * self._waiting / self._concurrency))
        came = self._clock()
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        began = self._clock()
        try:
            yield began - came
        finally:
            self._slots.release()
            held = self._clock() - began
            self._usual = held if not self._usual else self._usual + _SMOOTHING * (held - self._usual)
