"""Windows: aligned stretches of time, each reported once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from otel_tts import formatting


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """From ``start`` up to and without ``end``, both in seconds since the Unix epoch and multiples of the width."""

    start: float
    end: float

    @property
    def width_s(self) -> float:
        """The length of the window."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"{formatting.utc(self.start)}/{self.width_s:g}s"


def windows(since: float, until: float, width_s: float) -> Iterator[Window]:
    """The aligned windows that hold any of the time from ``since`` to ``until``, oldest first.

    Args:
        since: from when on, in seconds since the Unix epoch.
        until: up to when, in seconds since the Unix epoch.
        width_s: the width of a window, in seconds.
    """
    for number in range(math.floor(since / width_s), math.ceil(until / width_s)):
        yield Window(number * width_s, (number + 1) * width_s)


def closed(now: float, width_s: float, grace_s: float) -> float:
    """The end of the last window that is complete: it ended at least ``grace_s`` seconds ago.

    Args:
        now: in seconds since the Unix epoch.
        width_s: the width of a window, in seconds.
        grace_s: how long to wait for late telemetry, in seconds.
    """
    return math.floor((now - grace_s) / width_s) * width_s
