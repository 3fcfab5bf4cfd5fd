"""Open blocks: the blocks and streams with which an application keeps a request open, and how code inside a block finds the request."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.context import create_key

from otel_tts.core.layers import Layers
from otel_tts.core.outcome import Cause
from otel_tts.core.turn import Turn, in_turn

Reference: TypeAlias = "Callable[[], object | None]"
"""A weak reference to a request. A strong one in a context variable would keep a dropped request alive: it would never be counted."""
REQUEST = create_key("request")
"""The key of the reference to a request, in the OpenTelemetry context of all work for it."""
OUTSIDE = create_key("outside")
"""The key of what was current before a request began: the span of ours that is current in its place, and the context."""
_INNERMOST: ContextVar[Reference | None] = ContextVar("block", default=None)


def innermost() -> Reference | None:
    """Return the request whose block was entered last in the current thread or task; None outside of all blocks."""
    return _INNERMOST.get()


class KeptOpen:
    """The base of a request that blocks of an application keep open. A stream counts as a block that is open until the stream ends.

    Args:
        turn: the turn that the request and everything inside it share.
    """

    layers: Layers | None = None
    """The requests that were begun directly in its block; None without one."""
    within: Layers | None = None
    """Those of the request in whose block it was begun itself."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._reference = weakref.ref(self)
        self._depth = 0
        self._depths: list[int] = []  # of each block, streams not counted
        self._outer: Reference | None = None

    def enter_block(self) -> None:
        """Enter a block of the application."""
        turn = self.turn
        try:  # as `in_turn` does, in fewer calls
            with turn.lock:
                self._depth += 1
                self._depths.append(self._depth)
                if len(self._depths) == 1:
                    self._outer = _INNERMOST.get()
                    _INNERMOST.set(self._reference)
        finally:
            if turn.left:
                turn.leave()

    def exit_block(self, error: BaseException | None) -> None:
        """Leave a block of the application.

        Args:
            error: the exception that the application reports, or that left the block; None without one.
        """
        turn = self.turn
        try:
            with turn.lock:
                if not self._depths:  # left by a host that never entered it
                    self._depth += 1
                    self._depths.append(self._depth)
                if self._depths.pop() == 1 and error is not None:
                    self._depth = 1  # nobody will pull the streams any more that were begun inside
                # A block may be left in another context than it was entered in: by a generator that the garbage collector or the event
                # loop closes. Without this check, the outer block of this request would become current in the context of an unrelated
                # one, and what that calls next would be counted for the wrong request.
                if not self._depths and _INNERMOST.get() is self._reference:
                    _INNERMOST.set(self._outer)
                self._release(None, error)
        finally:
            if turn.left:
                turn.leave()

    @in_turn
    def begin_inside(self, inner: KeptOpen) -> None:
        """Note that a request was begun directly in its block.

        Args:
            inner: that request.
        """
        inner.within = self.layers = self.layers or Layers()
        inner.within.began(inner)

    if TYPE_CHECKING:

        def _release(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
            """End a block or stream: the request does. No abstract method: then `isinstance` would take a call each time."""
