"""Time: the one clock that everything measures with, so that tests can bring their own."""

from __future__ import annotations

import time
from typing import Protocol

NANOSECOND = 1e-9
"""In seconds."""


class Clock(Protocol):
    """Two readings, both in integer nanoseconds."""

    def monotonic(self) -> int:
        """Never goes back; for durations."""

    def wall(self) -> int:
        """Since the Unix epoch; for the timestamps of spans."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic_ns)
    wall = staticmethod(time.time_ns)


class RequestClock:
    """Wall-clock timestamps that agree with monotonic durations, for one request.

    The two clocks are read together once; later timestamps are that wall time plus monotonic time passed, so that a span's length
    is a duration even when the wall clock is set meanwhile.
    """

    __slots__ = ("_wall", "monotonic", "start")

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self.start = clock.monotonic()
        self._wall = clock.wall() - self.start

    def timestamp(self, reading: int) -> int:
        """The wall time, in nanoseconds, of a monotonic reading."""
        return self._wall + reading
