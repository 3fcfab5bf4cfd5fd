"""Connection: opening a connection to a provider. One connection serves many requests, so its span does not enclose theirs."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.clock import NANOSECOND, RequestClock
from otel_tts.core.emitter import Emitter
from otel_tts.core.fork import GENERATION
from otel_tts.core.guard import guard, guarded
from otel_tts.core.streams import Current


class Opening:
    """A block in which a connection is opened, current inside. Get it from :meth:`Telemetry.connection`.

    Args:
        emitter: what all requests of its Telemetry share.
        provider: with which provider a connection is opened.
    """

    __slots__ = ("_current", "_emitter", "_ended", "_generation", "_provider", "_span", "_timeline")

    def __init__(self, emitter: Emitter, provider: str) -> None:
        self._emitter = emitter
        self._provider = clean.name(provider)
        self._timeline = RequestClock(emitter.clock)
        self._span = emitter.start_span(
            semconv.CONNECT_SPAN.name,
            SpanKind.CLIENT,
            self._timeline.timestamp(self._timeline.start),
            {semconv.PROVIDER.key: self._provider},
        )
        self._current = Current(set_span_in_context(self._span))
        self._ended = False
        self._generation = GENERATION.number

    def __enter__(self) -> Self:
        if self._ended:
            guard.misused("connection", "a block that has ended", "call connection() for each one.", "It is not counted again.")
        self._current.__enter__()
        return self

    @guarded
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._current.__exit__(kind, error, tb)
        if self._ended:
            return
        self._ended = True
        if self._generation != GENERATION.number:
            return
        end_ns = self._timeline.monotonic()
        cause = outcome.OK if error is None else outcome.from_exception(error)
        try:
            if cause.reason is None:  # else it was cut off, which says nothing about the provider
                self._emitter.instruments.connect_duration.record(
                    (end_ns - self._timeline.start) * NANOSECOND,
                    (self._emitter.provider_labels.bound(self._provider), cause.error_type),
                    None,
                )
            if error is not None and cause.reason is None and cause.error_type is not None:
                self._span.set_attribute(semconv.ERROR_TYPE.key, cause.error_type.value)
                self._span.set_status(StatusCode.ERROR, str(cause.error_type))
                self._emitter.add_exception(self._span, error, self._timeline.timestamp(end_ns))
        finally:
            self._span.end(self._timeline.timestamp(end_ns))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)
