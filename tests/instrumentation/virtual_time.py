"""An event loop whose time passes at once when nothing is left to do, and otel-tts's clock on that time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from otel_tts.core.clock import SystemClock

if TYPE_CHECKING:
    import pytest


class _Selector(selectors.DefaultSelector):
    now_s = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        """Wait for files only where nothing is to happen later."""
        ready = super().select(0 if timeout is not None else 5)
        if not ready and timeout is not None:
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. All its waiting is over at once, and exact."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds."""
        return self._virtual.now_s


def set_clock(set_attribute: Callable[[object, str, Any], None], loop: VirtualLoop) -> None:
    """Have what is measured be measured on its time."""

    def now_ns() -> int:
        return round(loop.time() * 1e9)

    for name in ("monotonic", "wall"):
        set_attribute(SystemClock, name, staticmethod(now_ns))


@contextmanager
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualLoop]:
    """Have such a loop, and the clock on its time."""
    loop = VirtualLoop()
    set_clock(monkeypatch.setattr, loop)
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
