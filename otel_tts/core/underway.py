"""What is under way in this process: RPCs and requests that have begun and not ended, so that a shutdown can end them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Protocol

from otel_tts.core import fork

_PAUSE_S = 0.005  # seconds between looks at what is about to end


class UnderWay(Protocol):
    """Something that has begun and will end, whatever happens to the process."""

    @property
    def ending(self) -> bool:
        """Whether it is about to end by itself: it was answered, or its server is stopping."""

    def stop(self) -> None:
        """End it: as it was answered, else as stopped by us."""


class Register(fork.ForkAware):
    """Everything that is under way, by weak references: it is kept by whoever works on it, not here."""

    def __init__(self) -> None:
        # Single operations on a dictionary need no lock, which a finaliser might meet.
        self._references: dict[int, weakref.ref[UnderWay]] = {}
        self._on_first: Callable[[], None] | None = None
        fork.register(self)

    def on_first(self, callback: Callable[[], None]) -> None:
        """Have something called once, when the next one begins in this process."""
        self._on_first = callback

    def add(self, item: UnderWay) -> None:
        """It has begun."""
        self._references[id(item)] = weakref.ref(item)
        if self._on_first is not None:
            callback, self._on_first = self._on_first, None
            callback()

    def remove(self, item: UnderWay) -> None:
        """It has ended, or is being dropped."""
        self._references.pop(id(item), None)

    def items(self) -> list[UnderWay]:
        """Everything, the oldest first."""
        return [item for reference in self._references.copy().values() if (item := reference()) is not None]

    def settle(self, timeout_s: float) -> None:
        """Wait until what is about to end has ended."""
        deadline = time.monotonic() + timeout_s
        while any(item.ending for item in self.items()) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def stop(self, timeout_s: float = 0.0) -> None:
        """End everything; what is about to end by itself gets ``timeout_s`` seconds for that, and so does what others are just ending."""
        self.settle(timeout_s)
        deadline = time.monotonic() + timeout_s
        for item in self.items():
            item.stop()
        while self.items() and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def after_fork_in_child(self) -> None:
        """What is under way is the parent's."""
        self._references = {}
        self._on_first = None


UNDER_WAY = Register()
"""Of this process."""
