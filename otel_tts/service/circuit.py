"""Circuit: whether a provider gets requests.

Own code, because the libraries for it (purgatory, pybreaker, aiobreaker) let callers through to find out whether a broken service
is well again, count a cancelled caller as a failure, and wrap one call, where ours is a stream that several requests share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Circuit:
    """Closed, the provider gets requests. ``failures`` failures in a row open it, and only speech closes it again.

    A provider that answers a question which costs nothing may still make no audio.

    ``changed`` is told of the state after each piece of news. The clock gives seconds and never goes back.

    Args:
        failures: how many in a row open it.
        cooldown: seconds after which a probe is due.
        changed: is called with whether it is closed.
        clock: returns the current time in seconds.
    """

    def __init__(
        self, failures: int, cooldown: float, changed: Callable[[bool], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._cooldown = cooldown
        self._changed = changed
        self._clock = clock
        self._in_a_row = 0
        self._news = -math.inf  # when we last heard of the provider

    @property
    def closed(self) -> bool:
        """Whether the provider gets requests."""
        return self._in_a_row < self._failures

    def succeeded(self) -> None:
        """The provider made audio."""
        self._record(0)

    def responded(self) -> None:
        """The provider answered a probe that makes no audio: that takes back no failure."""
        self._record(self._in_a_row)

    def failed(self) -> None:
        """The provider failed through its own fault: never for the input, nor because the caller went away."""
        self._record(self._in_a_row + 1)

    def probe_in(self, interval_s: float | None = None) -> float:
        """Seconds until a probe is due: when open, the cool-down after the last news; when closed, ``interval_s`` (None: never)."""
        wait_s = interval_s if self.closed else self._cooldown
        return math.inf if wait_s is None else max(0.0, self._news + wait_s - self._clock())

    def _record(self, in_a_row: int) -> None:
        self._in_a_row = in_a_row
        self._news = self._clock()
        self._changed(self.closed)
