"""Enclosure: the RPC, the HTTP request or the WebSocket message that requests to speak belong to.

With zero-code instrumentation, each call of a provider starts a request by itself. Within one enclosure, a call with the same text
after a call that failed is not a new request: the failed one continues, with a retry or a fallback.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from opentelemetry.context import Context, create_key, get_current, set_value

from otel_tts.core import outcome
from otel_tts.core.deferred import defer
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.playback import NOT_PLAYED
from otel_tts.semconv import Outcome

if TYPE_CHECKING:
    from otel_tts.core.record import Record

ENCLOSURE = create_key("enclosure")
"""The key of a weak reference to the Enclosure, in an OpenTelemetry context that is passed to another thread."""
# The strong reference. A task that is started in an Enclosure copies it, so the Enclosure lives as long as any work for it. It is not
# a value of the OpenTelemetry context: when a block of the host ends, OpenTelemetry restores the context from before the block, and
# the Enclosure would be lost.
CURRENT: ContextVar[Enclosure | None] = ContextVar("enclosure", default=None)


class ComparedText(Protocol):
    """The text of a request, kept to be compared with that of later ones."""

    def equals(self, text: str) -> bool:
        """Return whether this is the text.

        Args:
            text: of the new call.
        """


class Repeatable(Protocol):
    """A request that failed, and that continues if the same text is requested again."""

    @property
    def text_input(self) -> ComparedText:
        """Its text."""

    def settle(self) -> None:
        """End it with the outcome that is known so far; nothing more will come for it."""

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child."""


class HostFailure:
    """Whether the enclosure's own code failed, for requests that may outlive the enclosure."""

    cause: Cause | None = None
    """Why it failed; None if it did not."""
    interruption = outcome.CANCELLED
    """Why a request was cut off, if nothing else is known."""

    def explain(self, ended: Cause, record: Record) -> Cause:
        """Return why a request ended: if it seems cancelled and the code around it failed, nobody left it, and the failure is why.

        Args:
            ended: how it seems to have ended.
            record: its facts; what is not true of them is taken out.
        """
        return self.cause if ended.outcome is Outcome.CANCELLED and self.cause is not None else ended


class HeadFailure(HostFailure):
    """The same of an HTTP HEAD request, whose caller gets no audio: servers drop the body, or end it after the first piece."""

    interruption = outcome.HEAD

    def explain(self, ended: Cause, record: Record) -> Cause:
        """Return why a request ended, as above; one that ended well spoke to nobody. What its stream handed out reached nobody.

        Args:
            ended: how it seems to have ended.
            record: its facts, which lose the playback; those of a request for which nobody waits stay as they are.
        """
        if not record.purpose.interactive:
            return super().explain(ended, record)
        record.playback = NOT_PLAYED
        return super().explain(outcome.HEAD if ended.good or ended == outcome.CANCELLED else ended, record)


NO_HOST_FAILURE = HostFailure()
"""Of a request that nothing encloses."""


class Enclosure:
    """The enclosure of requests to speak. Thread-safe without a lock: each change of its dictionary is one atomic operation.

    A lock would not do: the finaliser may run while its own thread holds it.
    """

    __slots__ = ("__weakref__", "_failed", "host_failure", "over")

    def __init__(self) -> None:
        self.over = False
        """Whether it has ended: a request that starts later, for example in a background task, does not belong to it."""
        self.host_failure = HostFailure()
        self._failed: dict[Repeatable, float] = {}  # each with when it failed

    def keep(self, request: Repeatable) -> bool:
        """Keep a request that failed, to continue or to be settled later; return False if the enclosure has ended.

        Args:
            request: the request that failed.
        """
        self._failed[request] = time.monotonic()
        return not (self.over and self._remove(request))

    def waits_for(self, request: object) -> bool:
        """Return whether a request is kept, to continue or to be settled.

        Args:
            request: the request.
        """
        return request in self._failed

    def take(self, text: str) -> Repeatable | None:
        """Remove and return the oldest failed request for this text; None without one.

        Args:
            text: of the new call.
        """
        for request in tuple(self._failed):
            if request.text_input.equals(text) and self._remove(request):
                return request
        return None

    def _remove(self, request: Repeatable) -> bool:
        return self._failed.pop(request, None) is not None  # else another thread was faster

    @guarded
    def fail(self, error: BaseException) -> None:
        """Note that its own code raised; call it before :meth:`close`.

        A cancellation, or a connection that broke, is the caller's doing.

        Args:
            error: what the code around raised.
        """
        cause = outcome.from_exception(error)
        if cause.outcome is not Outcome.CANCELLED and not isinstance(error, ConnectionError):
            self.host_failure.cause = cause if cause == outcome.SHUTDOWN else outcome.ERROR

    def method(self, name: object) -> None:
        """Note the method of its HTTP request; call it before the request is handled.

        Args:
            name: in capital letters; HEAD gets no body.
        """
        if name == "HEAD":
            self.host_failure = HeadFailure()

    @guarded
    def answered(self, status: int) -> None:
        """Note the status of its HTTP answer: from 500 on, its own code failed.

        Args:
            status: the HTTP status.
        """
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.host_failure.cause = outcome.ERROR

    def settle(self, older_than_s: float = 0.0) -> None:
        """End the requests that failed at least ``older_than_s`` seconds ago."""
        latest = time.monotonic() - older_than_s
        for request, since in tuple(self._failed.items()):
            if since <= latest and self._remove(request):
                request.settle()

    def close(self) -> None:
        """End it, and the failed requests in it."""
        self.over = True
        self.settle()

    def __del__(self) -> None:
        if getattr(self, "_failed", None):
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        # Deferred: a finaliser may run while its thread holds a lock that settling would wait for.
        defer(functools.partial(_settle, tuple(self._failed)))


def _settle(requests: Iterable[Repeatable]) -> None:
    for request in requests:
        request.settle()


def current() -> Enclosure | None:
    """Return the enclosure of the caller; None without one, or if it has ended."""
    reference = get_current().get(ENCLOSURE)
    enclosure = reference() if callable(reference) else CURRENT.get()
    return enclosure if isinstance(enclosure, Enclosure) and not enclosure.over else None


def carried(context: Context) -> Context:
    """Return the context with the current Enclosure added, for another thread: context variables do not reach it.

    Args:
        context: the OpenTelemetry context to extend.
    """
    enclosure = CURRENT.get()
    if enclosure is None or enclosure.over or ENCLOSURE in context:
        return context
    reference: Callable[[], Enclosure | None] = weakref.ref(enclosure)
    return set_value(ENCLOSURE, reference, context)


@contextmanager
def inside(enclosure: Enclosure) -> Iterator[None]:
    """Make an enclosure current inside a block.

    Args:
        enclosure: the enclosure.
    """
    token = CURRENT.set(enclosure)
    try:
        yield
    finally:
        # An event loop that closes a coroutine leaves the block in another context, in which the enclosure was never current. There
        # the reset raises ValueError, which would replace the host's own exception.
        with suppress(ValueError):
            CURRENT.reset(token)
