"""Enclosure: what requests to speak happen in - an RPC, an HTTP request, a message of a WebSocket.

Code that was never changed calls one provider after another, and each call begins a request by itself. Within one enclosing request,
a call with the same text after a call that failed is no new request: the failed one goes on, with a retry or a fallback.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

from opentelemetry.context import Context, create_key, get_current, set_value

from otel_tts.core.deferred import defer
from otel_tts.core.guard import guarded

ENCLOSURE = create_key("enclosure")
"""Where a weak reference to the Enclosure stands in an OpenTelemetry context that goes to another thread."""
# The strong reference. A task that is begun in an Enclosure copies it, so the Enclosure lives as long as anything that works for it.
# It is no OpenTelemetry value: a block of the host that ends would put the one before it back.
CURRENT: ContextVar[Enclosure | None] = ContextVar("enclosure", default=None)


class Repeatable(Protocol):
    """A request that failed, and that goes on if its text is asked for again."""

    def repeated_by(self, text: str) -> bool:
        """Whether this is its text."""

    def settle(self) -> None:
        """Nothing more will come: it went as it looks."""


class Enclosure:
    """What encloses requests to speak. Any thread may tell it anything, without a lock: each change of its list is one step."""

    __slots__ = ("__weakref__", "_failed", "over")

    def __init__(self) -> None:
        self.over = False
        """Whether it has ended: what begins later, in a task of the background say, is on its own."""
        self._failed: dict[Repeatable, float] = {}  # each with when it failed

    def keep(self, request: Repeatable) -> bool:
        """Keep a request that failed, to go on or to be settled later; False where it is too late for that."""
        if self.over:
            return False
        self._failed[request] = time.monotonic()
        return not (self.over and self._remove(request))

    def waits_for(self, request: object) -> bool:
        """Whether it is kept, to go on or to be settled."""
        return request in self._failed

    def take(self, text: str) -> Repeatable | None:
        """The oldest failed request for this text, which is no longer kept then."""
        for request in tuple(self._failed):
            if request.repeated_by(text) and self._remove(request):
                return request
        return None

    def _remove(self, request: Repeatable) -> bool:
        return self._failed.pop(request, None) is not None  # else another thread was faster

    def settle(self, older_than_s: float = 0.0) -> None:
        """What failed so long ago does not go on any more."""
        latest = time.monotonic() - older_than_s
        for request, since in tuple(self._failed.items()):
            if since <= latest and self._remove(request):
                request.settle()

    def close(self) -> None:
        """It ended."""
        self.over = True
        self.settle()

    @guarded
    def __del__(self) -> None:
        failed = getattr(self, "_failed", None)
        if failed:  # a finaliser may run in the middle of anything
            defer(functools.partial(_settle, tuple(failed)))


def _settle(requests: Iterable[Repeatable]) -> None:
    for request in requests:
        request.settle()


def current() -> Enclosure | None:
    """The one in which the caller stands, if it has not ended."""
    reference = get_current().get(ENCLOSURE)
    enclosure = reference() if callable(reference) else CURRENT.get()
    return enclosure if isinstance(enclosure, Enclosure) and not enclosure.over else None


def carried(context: Context) -> Context:
    """The context, and in it the Enclosure that is current here, for another thread."""
    enclosure = CURRENT.get()
    if enclosure is None or enclosure.over or ENCLOSURE in context:
        return context
    reference: Callable[[], Enclosure | None] = weakref.ref(enclosure)
    return set_value(ENCLOSURE, reference, context)


@contextmanager
def inside(enclosure: Enclosure) -> Iterator[None]:
    """A block in which it is current. It may be left elsewhere than it was entered, by a coroutine that the event loop closes."""
    token = CURRENT.set(enclosure)
    try:
        yield
    finally:
        with suppress(ValueError):  # elsewhere: there it never was current
            CURRENT.reset(token)
