"""Open blocks: the blocks and streams with which an application keeps a request open, and how code inside a block finds the request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from opentelemetry.context import create_key

Reference: TypeAlias = "Callable[[], object | None]"
"""A weak reference to a request. A strong one in a context variable would keep a dropped request alive: it would never be counted."""
REQUEST = create_key("request")
"""The key of the reference to a request, in the OpenTelemetry context of all work for it."""
_INNERMOST: ContextVar[Reference | None] = ContextVar("block", default=None)


def innermost() -> Reference | None:
    """Return the request whose block was entered last in the current thread or task; None outside of all blocks."""
    return _INNERMOST.get()


class OpenBlocks:
    """The open blocks of one request. A stream counts as a block that is open until the stream ends.

    Args:
        request: a weak reference to the request.
    """

    __slots__ = ("_depth", "_depths", "_outer", "_request")

    def __init__(self, request: Reference) -> None:
        self._request = request
        self._depth = 0
        self._depths: list[int] = []  # of each block, streams not counted
        self._outer: Reference | None = None

    def enter(self) -> None:
        """Enter a block."""
        self._depth += 1
        self._depths.append(self._depth)
        if len(self._depths) == 1:
            self._outer = _INNERMOST.get()
            _INNERMOST.set(self._request)

    def leave(self, error: BaseException | None) -> None:
        """Leave a block. Call :meth:`close` afterwards.

        Args:
            error: the exception that ended it; None without one.
        """
        if self._depths.pop() == 1 and error is not None:
            self._depth = 1  # nobody will pull the streams any more that were begun inside
        # A block may be left in another context than it was entered in: by a generator that the garbage collector or the event loop
        # closes. Without this check, the outer block of this request would become current in the context of an unrelated one, and
        # what that calls next would be counted for the wrong request.
        if not self._depths and _INNERMOST.get() is self._request:
            _INNERMOST.set(self._outer)

    def open_stream(self) -> None:
        """Count a stream that starts."""
        self._depth += 1

    def reopen(self) -> None:
        """Start counting again, after all blocks were closed."""
        self._depth = 0

    def close(self) -> bool:
        """Count a block or stream that ended, and return whether it was the outermost."""
        self._depth -= 1
        return self._depth <= 0
