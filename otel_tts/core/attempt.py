"""Attempt: one call of a provider, from the moment it is asked to the last of its audio."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterable, Iterable
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from opentelemetry.context import Context, create_key, set_value
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

from otel_tts import semconv
from otel_tts.core import outcome
from otel_tts.core.audio import AudioFacts, AudioFormat, AudioMeter
from otel_tts.core.clock import Timeline
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.privacy import exception_attributes
from otel_tts.core.record import Record
from otel_tts.core.streams import Current, MeasuredAsyncIterator, MeasuredIterator, Payload
from otel_tts.semconv import AttemptReason, ErrorType, Outcome

if TYPE_CHECKING:
    from otel_tts.core.synthesis import Synthesis

T = TypeVar("T")

_S = 1e-9
ATTEMPT = create_key("attempt")
"""Where a weak reference to the Attempt stands in the OpenTelemetry context while its provider works."""


class Attempt:
    """One attempt at a provider. Get it from :meth:`Synthesis.attempt` or :meth:`Telemetry.probe`.

    As a context manager (``with`` or ``async with``) it is current inside its block and ends with it. Not entered, it ends with the
    stream that :meth:`stream` gives. An exception that leaves the block is its outcome and goes on unchanged.
    """

    def __init__(
        self,
        emitter: Emitter,
        timeline: Timeline,
        request: Synthesis | None,
        provider: str,
        model: str | None,
        reason: AttemptReason,
        *,
        remote: bool,
    ) -> None:
        self.provider = provider
        self.model = model
        self.cause: Cause | None = None
        """How it ended; None while it is open."""
        self.billable = False
        """Whether it made any audio: a provider's bill is for that."""
        self._emitter = emitter
        self._timeline = timeline
        self._request = request
        self._reason = reason
        self._start = timeline.monotonic()
        self.entered = False
        """Whether it has a block, which will end it."""
        self.format: AudioFormat | None = None
        self.real_time_factor: float | None = None
        self._declared: Cause | None = None
        self._meter: AudioMeter | None = None
        self._waited: int | None = None
        self._chunks = 0
        self._fed = False
        self._first: int | None = None
        self._error: BaseException | None = None
        self._labels = emitter.maker(provider, model)
        parent = request.context if request is not None else Context()
        self._span = self._start_span(SpanKind.CLIENT if remote else SpanKind.INTERNAL, parent)
        self.context: Context = set_value(ATTEMPT, weakref.ref(self), set_span_in_context(self._span, parent))
        """The context in which the provider works."""
        self._current = Current(self.context)
        self._over = Lock()  # taken by whoever ends it, never released

    @property
    def open(self) -> bool:
        """Whether its provider is still at work."""
        return self.cause is None

    def _start_span(self, kind: SpanKind, parent: Context) -> Span:
        attributes: dict[str, str | bool] = {
            semconv.OPERATION_NAME.key: "text_to_speech",
            semconv.OUTPUT_TYPE.key: "speech",
            semconv.PROVIDER.key: self.provider,
            semconv.ATTEMPT_REASON.key: self._reason.value,
        }
        name = semconv.ATTEMPT_SPAN.name.partition(" ")[0]
        if self.model:
            attributes[semconv.MODEL.key] = self.model
            name = f"{name} {self._labels[1]}"
        if self._request is not None:
            attributes[semconv.STREAM.key] = self._request.record.stream
        return self._emitter.start_span(name, kind, self._timeline.timestamp(self._start), attributes, parent)

    # -- as a block ---------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.entered = True
        self._current.__enter__()
        return self

    @guarded
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._current.__exit__(kind, error, tb)
        self.end(outcome.OK if error is None else None, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)

    # -- what it gives ------------------------------------------------------------------------------------------------------------

    def audio(self, data: T, format: AudioFormat) -> T:
        """Report the whole audio that the engine returned, and get it back. ``data``: bytes-like, or a numpy array."""
        self._audio(data, format)
        return data

    @guarded
    def _audio(self, data: Any, format: AudioFormat) -> None:
        now = self._timeline.monotonic()
        self._waited = now - self._start
        self._feed(self._measure(format), data)

    @overload
    def stream(
        self, chunks: AsyncIterable[T], format: AudioFormat, payload: Payload | None = ...
    ) -> MeasuredAsyncIterator[T]: ...
    @overload
    def stream(self, chunks: Iterable[T], format: AudioFormat, payload: Payload | None = ...) -> MeasuredIterator[T]: ...
    def stream(
        self, chunks: Iterable[T] | AsyncIterable[T], format: AudioFormat, payload: Payload | None = None
    ) -> MeasuredIterator[T] | MeasuredAsyncIterator[T]:
        """The same chunks, measured as they are pulled: an iterator for an iterable, an asynchronous one for an asynchronous.

        ``payload`` takes the audio bytes out of a chunk that is not bytes itself. The attempt is current only while a chunk is
        pulled, and ends with the stream unless it has a block of its own.
        """
        self.expect(format)
        if isinstance(chunks, AsyncIterable):
            return MeasuredAsyncIterator(chunks, self, payload)
        return MeasuredIterator(chunks, self, payload)

    @guarded
    def expect(self, format: AudioFormat) -> None:
        """Its audio will be in this format."""
        self._measure(format)

    @guarded
    def fail(
        self,
        error: BaseException | None = None,
        *,
        outcome: Outcome | str | None = None,
        error_type: ErrorType | str | None = None,
    ) -> None:
        """Report a failure that is not raised, or say what an exception that is about to be raised means.

        ``outcome``: by default what ``error`` means, else ``error``.
        """
        if self._declared is None:
            self._declared = declared(error, outcome, error_type)
            self._error = error

    # -- the stream's side (see streams.Source) -----------------------------------------------------------------------------------

    def monotonic(self) -> int:
        """The clock's reading, nanoseconds."""
        return self._timeline.monotonic()

    def chunk(self, data: Any, now: int, waited: int) -> None:
        """A chunk came."""
        self.waiting(waited)
        total = self._feed(self._meter, data) if self._meter is not None else None
        if total is None or self._meter is None:
            return
        self._chunks += 1
        if self._first is None:
            self._first = now
        if self._request is not None:
            self._request.record.playback.chunk(self._meter, total, now, waited)

    def waiting(self, waited: int) -> None:
        """Count time spent waiting for the engine; time in the consumer is none of it."""
        self._waited = (self._waited or 0) + waited

    def dropped(self) -> None:
        """The stream was dropped: end later, outside of the garbage collector, as of now."""
        now = self._timeline.monotonic()
        self._emitter.instruments.defer(lambda: self.finished(None, None, now))

    def finished(self, cause: Cause | None, error: BaseException | None, now: int | None = None) -> None:
        """The stream ended; so does the attempt, unless it has a block that is still running."""
        if not self.entered:
            self.end(cause, error, now)

    @guarded
    def __del__(self) -> None:
        over = getattr(self, "_over", None)
        if over is not None and not over.locked():
            now = self._timeline.monotonic()
            self._emitter.instruments.defer(lambda: self.end(None, None, now))

    # -- the end ------------------------------------------------------------------------------------------------------------------

    @guarded
    def end(self, cause: Cause | None, error: BaseException | None, now: int | None = None) -> None:
        """End the attempt, once. ``cause`` None: what ``error`` means, and without an error an interruption.

        ``now``: when that was, if it is past.
        """
        if not self._over.acquire(blocking=False):
            return
        self.cause = cause = self._judge(cause, error)
        now = self._timeline.monotonic() if now is None else max(now, self._start)  # a dropped request may have gone on
        facts: AudioFacts | None = None
        try:
            facts = self._meter.facts() if self._meter is not None else None
            self._record(cause, facts, (now - self._start) * _S)
            self._describe(cause, facts, error or self._error, now)
        finally:
            if self._request is not None:
                self._request.attempted(self, cause, facts)
            self._request = self._error = None  # no circle of references: what is over is freed at once
            self._span.end(self._timeline.timestamp(now))

    def _judge(self, cause: Cause | None, error: BaseException | None) -> Cause:
        if self._declared is not None:
            cause = self._declared
        elif cause is None:
            cause = outcome.CANCELLED if error is None else outcome.from_exception(error)
        if cause.outcome is Outcome.CANCELLED and self._request is not None:
            cause = self._request.interruption()
        if cause.good and self._meter is not None and not self._fed:
            return outcome.EMPTY
        if cause.outcome is Outcome.ERROR and self._chunks and self._request is not None and self._request.record.stream:
            return Cause.of(Outcome.PARTIAL, cause.error_type)
        return cause

    def _record(self, cause: Cause, facts: AudioFacts | None, duration: float) -> None:
        instruments, labels = self._emitter.instruments, self._labels
        self._emitter.providers.get(self.provider).attempted(cause)
        self.billable = self._fed
        instruments.attempt_duration.record(duration, (*labels, cause.outcome, cause.error_type, self._reason), self.context)
        if facts is None:
            return
        if facts.duration:
            instruments.audio.add(facts.duration, (*labels, "generated", "provider"))
        if cause.good:
            self.real_time_factor = _ratio(self._waited, facts.duration)
            if self.real_time_factor is not None:
                instruments.real_time_factor.record(self.real_time_factor, labels, self.context)
            if self._request is not None:
                self._record_quality(self._request.record, facts)

    def _record_quality(self, request: Record, facts: AudioFacts) -> None:
        instruments, emitter = self._emitter.instruments, self._emitter
        values = (self._labels[0], emitter.voice_labels.bound(request.voice), emitter.language_labels.bound(request.language))
        for histogram, value in (
            (instruments.loudness, facts.loudness),
            (instruments.silence_ratio, facts.silence_ratio),
            (instruments.clipping_ratio, facts.clipping_ratio),
            (instruments.trailing_silence, facts.trailing_silence),
            (instruments.speaking_rate, request.speaking_rate(facts)),
        ):
            if value is not None:
                histogram.record(value, values, self.context)

    def _describe(self, cause: Cause, facts: AudioFacts | None, error: BaseException | None, now: int) -> None:
        span, timestamp = self._span, self._timeline.timestamp
        if not span.is_recording():
            return
        attributes: dict[str, str | int | float] = {semconv.OUTCOME.key: cause.outcome.value}
        if cause.error_type is not None:
            attributes[semconv.ERROR_TYPE.key] = cause.error_type.value
        if self.format is not None and facts is not None:
            attributes[semconv.AUDIO_FORMAT.key] = self.format.name
            if facts.duration is not None:
                attributes[semconv.AUDIO_DURATION.key] = facts.duration
            if facts.sample_rate is not None:
                attributes[semconv.AUDIO_SAMPLE_RATE.key] = facts.sample_rate
        if self.real_time_factor is not None:
            attributes[semconv.REAL_TIME_FACTOR.key] = self.real_time_factor
        if self._chunks:
            attributes[semconv.CHUNK_COUNT.key] = self._chunks
        span.set_attributes(attributes)
        if self._first is not None:
            span.add_event(semconv.FIRST_BYTE_EVENT.name, None, timestamp(self._first))
            playback = self._request.record.playback if self._request is not None else None
            if playback is not None and playback.first_byte == self._first and (heard := playback.first_audio()) is not None:
                span.add_event(semconv.FIRST_AUDIO_EVENT.name, None, timestamp(heard))
        if error is not None and cause.outcome not in (Outcome.CANCELLED, Outcome.DEADLINE):
            attributes_ = exception_attributes(error, capture_text=self._emitter.settings.capture_text)
            span.add_event(semconv.EXCEPTION_EVENT.name, attributes_, timestamp(now))
        if cause.outcome in semconv.FAILURES:
            span.set_status(StatusCode.ERROR, str(cause.error_type))

    def _feed(self, meter: AudioMeter, data: Any) -> float | None:
        """Seconds of audio so far; None while there is none, since a header is none."""
        before, self._fed = self._fed, True  # if it cannot be read, nobody knows that it was empty
        if not len(data):
            self._fed = before
            return None
        total = meter.feed(data)
        self._fed = not meter.empty
        return total if self._fed else None

    def _measure(self, format: AudioFormat) -> AudioMeter:
        if self._meter is None:
            self.format = format
            self._meter = AudioMeter(format)
        elif format != self.format:
            raise ValueError(
                f"This attempt's audio is {self.format}, so {format} cannot follow. Use one attempt for each format."
            )
        return self._meter


def declared(error: BaseException | None, outcome_: Outcome | str | None, error_type: ErrorType | str | None) -> Cause:
    """The cause that an application gives by hand."""
    seen = outcome.from_exception(error) if error is not None else Cause.of(Outcome.ERROR, error_type)
    if outcome_ is None and error_type is None:
        return seen
    return Cause.of(outcome_ or seen.outcome, error_type or seen.error_type)


def _ratio(waited: int | None, seconds: float | None) -> float | None:
    return None if waited is None or not seconds else waited * _S / seconds
