"""Draws the page Now again and again, in a process that does nothing else: python -m tests.live.soak DRAWS MORE.

Prints the bytes in use after the first draws and after the further ones. Its clock goes by a draw, and begins when all telemetry is old
enough to be in the range of every draw: what is kept for windows that begin at whole minutes is as much in both, whenever and however
fast it runs.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc

from otel_tts.live import cached_history
from tests.live.test_pages import one

cached_history._KEPT = 30  # so that the bound is reached early
_STEP_S, _PART_S = 25.0, 600.0
"""Between two draws, and what as many draws as the test asks for take: whole windows of every length that the page has."""


class Clock:
    """Seconds since the Unix epoch, which stand still until it is told."""

    def __init__(self) -> None:
        self.now = (time.time() // _PART_S + 1) * _PART_S

    def __call__(self) -> float:
        """Give them."""
        return self.now


def main(*draws: str) -> None:
    """Draw, and print."""
    clock = Clock()
    cached_history.CachedHistory.__init__.__defaults__ = (clock,)
    test = one("Now")
    test.query_params["range"] = "1h"
    test.run()
    tracemalloc.start()
    for times in map(int, draws):
        for _ in range(times):
            clock.now += _STEP_S
            test.run()
            assert not test.exception
        gc.collect()
        print(tracemalloc.get_traced_memory()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
