"""Clock: the one source of time for everything that is measured, so that tests can replace it."""

from __future__ import annotations

import time
from typing import Protocol

NANOSECOND = 1e-9
"""In seconds."""


class Clock(Protocol):
    """Source of two readings, both in integer nanoseconds."""

    def monotonic(self) -> int:
        """Return the monotonic time, which never goes back; for durations."""

    def wall(self) -> int:
        """Return the time since the Unix epoch; for the timestamps of spans."""


class SystemClock:
    """The clocks of the operating system."""

    monotonic = staticmethod(time.monotonic_ns)
    wall = staticmethod(time.time_ns)


class RequestClock:
    """Wall-clock timestamps that agree with monotonic durations, for one request.

    The two clocks are read together once; later timestamps are that wall time plus the monotonic time since then. Without this, a wall
    clock that is set during a request would make its span too long, or end before its start.

    Args:
        clock: what it reads.
    """

    __slots__ = ("_wall", "monotonic", "start")

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self.start = clock.monotonic()
        self._wall = clock.wall() - self.start

    def timestamp(self, reading: int) -> int:
        """Return the wall time, in nanoseconds, of a monotonic reading.

        Args:
            reading: of the monotonic clock, in nanoseconds.
        """
        return self._wall + reading
