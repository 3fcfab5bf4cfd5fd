"""Cache: look-ups for a request, audio that needs no provider, and writes to the cache."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from contextvars import Token
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, StatusCode, set_span_in_context

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.audio import AudioMeter
from otel_tts.core.blocks import REQUEST
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import collecting, defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.exits import is_fault
from otel_tts.core.fork import GENERATION
from otel_tts.core.formats import AudioFormat, Samples, checked
from otel_tts.core.guard import guard, guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.payload import is_whole
from otel_tts.core.record import Record
from otel_tts.core.sources import AudioSources
from otel_tts.core.streams import MEASURED, Payload, enter, leave, measured
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import LookupResult, Outcome

T = TypeVar("T")


class CachedRequest(Protocol):
    """A request that looks into caches."""

    emitter: Emitter
    timeline: RequestClock
    record: Record
    context: Context
    turn: Turn
    sources: AudioSources
    outcome: Outcome | None


class _Block(ABC):
    """A block, sync or async, with a context that is current inside. Subclasses define the context, and what the end records."""

    _context: Context
    _token: Token[Context] | None = None

    def __enter__(self) -> Self:
        self._token = enter(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        leave(self._token, self._context, error)
        if collecting():
            defer(functools.partial(self._end, error))
            return
        try:
            self._end(error)
        except Exception as fault:  # noqa: BLE001 - the boundary: the block of the host goes on
            guard.caught("the end of a block", fault)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)

    @abstractmethod
    def _end(self, error: BaseException | None) -> None: ...


class Lookup(_Block):
    """A look-up in one cache tier. It is a miss unless :meth:`found` reports a hit; an exception makes it an error.

    Args:
        request: the request for which the cache is asked.
        tier: the name of the cache tier.
    """

    def __init__(self, request: CachedRequest, tier: str) -> None:
        self._context = request.context
        self._request = request
        self._tier = clean.name(tier)
        self._hit = False
        self._generation = GENERATION.number

    def found(
        self,
        value: T,
        provider: str | None = None,
        model: str | None = None,
        *,
        audio: AudioFormat | None = None,
        duration: float | None = None,
    ) -> T:
        """Report what the tier returned, and get it back.

        Args:
            value: None is a miss, anything else a hit.
            provider: who made the audio that was cached.
            model: with which model.
            audio: the format of the audio.
            duration: seconds of audio; by default taken from ``value``, where that is what :meth:`Attempt.audio` reads and ``audio`` is
                given.
        """
        try:
            if value is not None:
                self._report(value, provider, model, audio, duration)
        except Exception as error:  # noqa: BLE001 - the boundary: the host gets its value
            guard.caught("Lookup.found", error)
        return value

    def _report(
        self, value: Any, provider: str | None, model: str | None, audio: AudioFormat | None, duration_s: float | None
    ) -> None:
        self._hit = True
        audio = None if audio is None else checked(audio)
        if duration_s is not None:
            duration_s = clean.seconds("duration", duration_s)
        elif audio is not None and (type(value) is bytes or isinstance(value, list | tuple) or is_whole(value)):
            duration_s = _seconds(value, audio)
        self._request.sources.cache_hit(self._tier, provider, model, duration_s, audio)

    def _end(self, error: BaseException | None) -> None:
        if self._generation != GENERATION.number:
            return
        result = LookupResult.HIT if self._hit else LookupResult.MISS
        if is_fault(error):
            result = LookupResult.ERROR
        if not self._hit:
            self._request.sources.cache_miss()
        self._request.emitter.instruments.lookups.add(1, (self._tier, result))


def _seconds(data: Any, format: AudioFormat) -> float | None:
    if isinstance(format, Samples) and type(data) is bytes:  # no check against a union, which is made at each use
        return format.seconds(len(data))
    meter = AudioMeter(format)
    meter.feed(data)
    return meter.seconds


class CachedAudio:
    """The source of a measured stream of audio that exists already, so that no provider makes it: see ``streams.Source``.

    Args:
        request: the request for which the cache is asked.
        format: how the samples are encoded.
        hands_out: whether the listener gets it as it comes; else a layer around says when.
    """

    def __init__(self, request: CachedRequest, format: AudioFormat, *, hands_out: bool = True) -> None:
        self._request = request
        self._hands_out = hands_out
        self.turn = request.turn
        self.monotonic = request.timeline.monotonic
        """Returns the clock's reading, in nanoseconds."""
        self._meter = AudioMeter(format)
        self.context = request.context

    def deliver(self, audio: Any, payload: Payload | None) -> Any:
        """Return audio that is whole as it is, and chunks as an iterator that measures them.

        Args:
            audio: the audio, whole or in chunks.
            payload: takes the audio out of a chunk that is no bytes; None: chunks are bytes or arrays.
        """
        if is_whole(audio):
            self._whole(audio)
            return audio
        if type(audio) in MEASURED and audio.belongs_to(self.context.get(REQUEST)):
            return audio  # the stream of an attempt: it is measured there
        return measured(audio, self, payload)

    @guarded
    def _whole(self, audio: Any) -> None:
        self.chunk(audio, self.monotonic(), 0)
        self._request.sources.delivered(self._meter.seconds, self._meter.format)

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """Measure a chunk that is handed to the caller.

        Args:
            data: a chunk.
            now_ns: when, on the clock of the request, in nanoseconds.
            waited_ns: how long it was waited for, in nanoseconds.
        """
        request, meter, turn = self._request, self._meter, self.turn
        try:  # as `in_turn` does, in fewer calls
            with turn.lock:
                has_ended, pieces = request.outcome is not None, meter.pieces
                total_s = meter.feed(data)
                if meter.pieces > pieces and self._hands_out:
                    request.record.played().chunk(meter, total_s, now_ns, waited_ns)
        finally:
            if turn.left:
                turn.leave()
        if has_ended:
            UNDER_WAY.hold()

    def waiting(self, waited_ns: int) -> None:
        """Do nothing: there is no engine to wait for.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """

    @in_turn
    def finished(self, cause: Cause | None, error: BaseException | None) -> None:
        """Note the duration of audio that came to its end. Why a stream ended early is known from the end of the request.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
        """
        if cause is not None and cause.good:
            self._request.sources.delivered(self._meter.seconds, self._meter.format)

    def dropped(self) -> None:
        """Do nothing: the request has a finaliser of its own."""


class CacheWrite(_Block):
    """A write of audio to a cache tier. It may end after its request, so it is a trace of its own, with a link to the request's span.

    Args:
        emitter: what all requests of its Telemetry share.
        tier: the name of the cache tier.
        link: to the span of the request whose audio is written.
    """

    def __init__(self, emitter: Emitter, tier: str, link: Link) -> None:
        self._emitter = emitter
        self._timeline = RequestClock(emitter.clock)
        self._span = emitter.start_span(
            semconv.CACHE_WRITE_SPAN.name,
            SpanKind.INTERNAL,
            self._timeline.timestamp(self._timeline.start),
            {semconv.CACHE_TIER.key: clean.name(tier)},
            Context(),
            [link],
        )
        self._context = set_span_in_context(self._span, Context())
        self._ended = False
        self._generation = GENERATION.number

    def __enter__(self) -> Self:
        if self._ended:
            guard.misused(
                "cache_write", "a block that has ended", "call cache_write() for each write.", "Its span stays as it is."
            )
        return super().__enter__()

    def _end(self, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        if self._generation != GENERATION.number:
            return
        if error is not None and is_fault(error):
            self._emitter.add_exception(self._span, error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(self._timeline.timestamp(self._timeline.monotonic()))
