"""Draws the page Now again and again, in a process that does nothing else: python -m tests.live.soak DRAWS MORE.

Prints the bytes in use after the first draws and after the further ones.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc

from otel_tts.live import cached_history
from tests.live.test_pages import one

cached_history._KEPT = 30  # so that the bound is reached early


def main(*draws: str) -> None:
    """Draw, and print."""
    test = one("Now").run()
    tracemalloc.start()
    for times in map(int, draws):
        for _ in range(times):
            test.run()
            assert not test.exception
        gc.collect()
        print(tracemalloc.get_traced_memory()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
