"""WholeRequest: a request that consists of one stream of one provider."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from opentelemetry.context import Context

from otel_tts.core import outcome
from otel_tts.core.audio import AudioFormat
from otel_tts.core.deferred import defer
from otel_tts.core.guard import guarded_or
from otel_tts.core.invocation import Invocation
from otel_tts.core.noop import NOOP
from otel_tts.core.outcome import Cause
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.turn import in_turn


class WholeRequest:
    """The source of :meth:`Synthesis.stream`: an invocation that starts with the first pull, and the request that ends with it.

    Args:
        request: the request.
        begin: starts the call of the provider, when the first chunk is pulled.
        format: how the samples are encoded.
        around: the attempt of another layer inside which it is; None: none.
    """

    def __init__(
        self, request: SynthesisRequest, begin: Callable[[], Invocation], format: AudioFormat, around: Invocation | None = None
    ) -> None:
        self.around = around
        self._request = request
        self.turn = request.turn
        self._begin = begin
        self._format = format
        self.monotonic = request.timeline.monotonic
        """Returns the clock's reading, in nanoseconds."""
        self._invocation: Invocation | None = None

    @cached_property
    def context(self) -> Context:
        """The context in which the provider works."""
        return self._begun().context

    @cached_property
    def chunk(self) -> Callable[[Any, int, int], None]:
        """The method of the invocation that takes a chunk."""
        return self._begun().chunk

    def waiting(self, waited_ns: int) -> None:
        """Pass on how long a pull took that gave nothing.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """
        self._begun().waiting(waited_ns)

    def finished(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End the invocation and the request.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
            now_ns: when, on the clock of the request, in nanoseconds; None: now.
        """
        if self._invocation is not None:
            self._invocation.end(cause, error, now_ns)
        ended = outcome.explained(cause, error, self._request.interruption)
        self._request.release(ended, error, now_ns)

    def dropped(self) -> None:
        """End both later, with the current time: ending takes locks, which a finaliser must not do."""
        now_ns = self.monotonic()
        defer(lambda: self.finished(None, None, now_ns))

    def _begun(self) -> Invocation:
        return self._invocation if self._invocation is not None else self._begun_once()

    @in_turn  # several threads may pull first
    def _begun_once(self) -> Invocation:
        if self._invocation is None:
            invocation = self._guarded_begin()
            invocation.expect(self._format)
            self._invocation = invocation
        return self._invocation

    @guarded_or(lambda *_: NOOP)
    def _guarded_begin(self) -> Invocation:
        return self._begin()
