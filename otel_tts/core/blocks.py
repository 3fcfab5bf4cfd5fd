"""The blocks and streams with which an application keeps a request open, and how code inside a block finds the request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from opentelemetry.context import create_key

Reference: TypeAlias = "Callable[[], object | None]"
"""A weak reference to a request."""
REQUEST = create_key("request")
"""Where the reference to a request stands in the OpenTelemetry context of whatever happens for it."""
_INNERMOST: ContextVar[Reference | None] = ContextVar("block", default=None)


def innermost() -> Reference | None:
    """The request whose own block was entered last, here."""
    return _INNERMOST.get()


class OpenBlocks:
    """Of one request. A stream counts as a block that is open until the stream ends."""

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
        """Leave a block, which :meth:`close` then closes."""
        if self._depths.pop() == 1 and error is not None:
            self._depth = 1  # nobody will pull the streams any more that were begun inside
        # A block may be left elsewhere than it was entered: by a generator that the garbage collector or the event loop closes. There
        # nothing can be restored: it would put the block of this request into the context of another.
        if not self._depths and _INNERMOST.get() is self._request:
            _INNERMOST.set(self._outer)

    def open_stream(self) -> None:
        """Count a stream that begins."""
        self._depth += 1

    def reopen(self) -> None:
        """Begin anew, after all were closed."""
        self._depth = 0

    def close(self) -> bool:
        """Count a block or stream that ended: whether it was the outermost."""
        self._depth -= 1
        return self._depth <= 0
