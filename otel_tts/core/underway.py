"""RPCs and requests of this process that have started and not ended, so that a shutdown can end them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Protocol

from otel_tts.core import fork
from otel_tts.core.deferred import run_deferred

_PAUSE_S = 0.005  # seconds between two checks of what is about to end
_LONG_S = 60.0  # seconds; it is ended long before


class UnderWay(Protocol):
    """An RPC or request that has started and not ended."""

    @property
    def ending(self) -> bool:
        """Whether it is about to end by itself: its response was sent, or its server is stopping."""

    def stop(self) -> None:
        """End it: with the status of its response, else as stopped by the service."""

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child: its parent ends and counts it."""


class Register(fork.ForkAware):
    """Register of all that has not ended, by weak references: with strong ones, a dropped request would never be finalised."""

    def __init__(self) -> None:
        # Single operations on a dictionary are atomic and need no lock. A finaliser, which removes items, could wait for ever for one.
        self._references: dict[int, weakref.ref[UnderWay]] = {}
        self._on_first: Callable[[], None] | None = None
        self._is_over = False
        fork.register(self)

    def on_first(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the next item starts in this process, after those that were registered before."""
        before = self._on_first

        def both() -> None:
            if before is not None:
                before()
            callback()

        self._on_first = both

    def add(self, item: UnderWay) -> None:
        """Add an item that has started.

        Args:
            item: a request or an RPC.
        """
        self._references[id(item)] = weakref.ref(item)
        if self._on_first is not None:
            callback, self._on_first = self._on_first, None
            callback()

    def remove(self, item: UnderWay) -> None:
        """Remove an item that has ended, or is being dropped.

        Args:
            item: a request or an RPC.
        """
        self._references.pop(id(item), None)

    def items(self) -> list[UnderWay]:
        """Return all items, the oldest first."""
        return [item for reference in self._references.copy().values() if (item := reference()) is not None]

    def settle(self, timeout_s: float) -> None:
        """Wait until all items that are about to end have ended, ``timeout_s`` seconds at most."""
        deadline = time.monotonic() + timeout_s
        while any(item.ending for item in self.items()) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def stop(self, timeout_s: float = 0.0) -> None:
        """End all items. Wait ``timeout_s`` seconds at most for those about to end by themselves, and again for those being ended.

        What was dropped before is ended first, as dropped and at that time: nobody waited for it any more.
        """
        self.settle(timeout_s)
        run_deferred()
        deadline = time.monotonic() + timeout_s
        for item in self.items():
            item.stop()
        while self.items() and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def end(self) -> None:
        """Let nothing start, answer or hand out audio any more that is not counted: the process ends as soon as telemetry is exported."""
        self._is_over = True
        self._on_first = self._hold_next

    def hold(self) -> None:
        """Wait until the process ends, if it is ending. Whatever happens to a request that has been exported would be counted nowhere."""
        while self._is_over:
            time.sleep(_LONG_S)  # signal handlers run in the meantime, and one of them ends the process

    def _hold_next(self) -> None:
        self._on_first = self._hold_next
        self.hold()

    def after_fork_in_child(self) -> None:
        """Drop all items: the parent ends and counts them, also those that the child leaves, continues or drops."""
        items, self._references = self.items(), {}
        self._on_first = None
        self._is_over = False
        for item in items:
            item.leave_to_parent()


UNDER_WAY = Register()
"""The register of this process."""
