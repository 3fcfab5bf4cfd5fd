"""Synthesis: the life of one request to speak, and the only place where its span starts and its metrics are recorded.

Every way out of a request comes to :meth:`Synthesis._finish`, once: the end of its block or stream outside an RPC, the end of the RPC
inside one, and the finaliser of a request that was dropped.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterable, Callable, Iterable
from contextvars import ContextVar
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, overload

from opentelemetry.context import Context, create_key, get_current, set_value
from opentelemetry.trace import Link, SpanKind, StatusCode, TraceFlags, format_trace_id, set_span_in_context

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.attempt import Attempt, declared
from otel_tts.core.audio import AudioFacts, AudioFormat
from otel_tts.core.cache import CachedAudio, CacheWrite, Lookup
from otel_tts.core.call import Call
from otel_tts.core.clock import Timeline
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.noop import NOOP
from otel_tts.core.outcome import Cause
from otel_tts.core.privacy import exception_attributes
from otel_tts.core.record import Record
from otel_tts.core.streams import MeasuredAsyncIterator, MeasuredIterator, Payload
from otel_tts.semconv import AttemptReason, CacheResult, ErrorType, Outcome

T = TypeVar("T")
SYNTHESIS = create_key("synthesis")
"""Where a weak reference to the Synthesis stands in the OpenTelemetry context while one of its blocks is running."""
Reference: TypeAlias = "Callable[[], Synthesis | None]"
_BLOCK: ContextVar[Reference | None] = ContextVar("block", default=None)  # the Synthesis whose own block was entered last


def surroundings() -> Context:
    """The current context, in which the Synthesis stands too whose own block is running here, to be found from elsewhere.

    That block is not current in OpenTelemetry's sense, since a generator may yield in it: engines that are called in it and threads
    that are started there ask for this.
    """
    context, reference = get_current(), _BLOCK.get()
    synthesis = reference() if reference is not None else None
    if reference is None or synthesis is None or not synthesis.open or SYNTHESIS in context:
        return context
    return set_value(SYNTHESIS, reference, context)


class Synthesis:
    """One request to speak. Get it from :meth:`otel_tts.Telemetry.synthesis`.

    Use it as a context manager (``with`` or ``async with``), or let :meth:`stream` end it. It is never current itself, so a generator
    may yield inside its block; :meth:`attempt` and :meth:`lookup` are, inside theirs. An exception that leaves the block goes on
    unchanged. Inside an RPC of our interceptors, the RPC's end decides the outcome.
    """

    def __init__(
        self, emitter: Emitter, call: Call | None, text: str | None, voice: str | None, language: str | None, *, stream: bool
    ) -> None:
        self.emitter = emitter
        self.timeline = call.timeline if call is not None else Timeline(emitter.clock)
        self.outcome: Outcome | None = None
        """How it ended; None while it is open."""
        spoken = clean.spoken(text)
        kept = spoken if emitter.settings.capture_text and text is not None else None
        start = call.start() if call is not None else self.timeline.start
        self.record = Record(bool(stream), clean.optional_name(voice), clean.optional_name(language), len(spoken), kept, start)
        self._call = call
        self._heard = False  # whether the text is known from the RPC's own messages
        self._depth = 0  # blocks and streams under way
        self._blocks: list[int] = []  # the depth of each block
        self._left: int | None = None  # when the application was done with it
        self._declared: Cause | None = None
        self._failed: Cause | None = None  # the first failed attempt since the last good one
        self._error: BaseException | None = None
        self._before: tuple[str, ErrorType | None] | None = None  # the provider that did not do, and why
        self._unfinished: list[Attempt] = []
        self._span = emitter.start_span(
            semconv.SYNTHESIS_SPAN.name,
            SpanKind.INTERNAL,
            self.timeline.timestamp(start),
            self.record.start_attributes(),
        )
        self._reference: Reference = weakref.ref(self)
        self._around: Reference | None = None  # the block around its own
        self.context: Context = set_value(SYNTHESIS, self._reference, set_span_in_context(self._span))
        """The context of whatever happens for this request."""
        emitter.instruments.active.add(1, (self.record.stream,))
        self._over = Lock()  # taken by whoever finishes it, never released
        if call is not None:
            call.adopt(self)

    @property
    @guarded_or(lambda _: "")
    def trace_id(self) -> str:
        """The trace id, 32 hexadecimal digits; empty when there is no trace."""
        context = self._span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else ""

    @property
    @guarded_or(lambda _: False)
    def sampled(self) -> bool:
        """Whether the trace is kept."""
        return bool(self._span.get_span_context().trace_flags & TraceFlags.SAMPLED)

    def __enter__(self) -> Self:
        self._depth += 1
        self._blocks.append(self._depth)
        if len(self._blocks) == 1:
            self._around = _BLOCK.get()
            _BLOCK.set(self._reference)
        return self

    @guarded
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._blocks.pop() == 1 and error is not None:
            self._depth = 1  # nobody will pull the streams that were begun inside any more
        if not self._blocks and _BLOCK.get() is self._reference:  # else it was entered elsewhere, where nothing can be restored
            _BLOCK.set(self._around)
        self.leave(None, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)

    # -- where the audio comes from -----------------------------------------------------------------------------------------------

    @guarded_or(lambda *_, **__: NOOP)
    def lookup(self, tier: str) -> Lookup:
        """Look into one cache tier: a block, current inside, so that the spans of a cache's client become children."""
        return Lookup(self, tier)

    @guarded
    def coalesced(self, provider: str | None = None, model: str | None = None) -> None:
        """The audio comes from an identical request that was under way; provider and model made it, if they are known."""
        self._unasked(CacheResult.COALESCED, provider, model)

    @guarded_or(lambda *_, **__: NOOP)
    def attempt(
        self, provider: str, model: str | None = None, *, reason: AttemptReason | str | None = None, remote: bool = False
    ) -> Attempt:
        """Ask a provider. After a failed attempt, one at the same provider is a retry and one at another a fallback.

        remote: whether the provider is called (span kind CLIENT) rather than run in this process (INTERNAL).
        """
        provider, model = clean.name(provider), clean.optional_name(model)
        if reason is None:
            reason = AttemptReason.INITIAL
            if self._before is not None:
                reason = AttemptReason.RETRY if self._before[0] == provider else AttemptReason.FALLBACK
        attempt = Attempt(self.emitter, self.timeline, self, provider, model, AttemptReason(reason), remote=remote)
        self.record.discard_lookup()
        self.record.provider, self.record.model = provider, model
        self.record.fallback = self.record.fallback or reason == AttemptReason.FALLBACK
        self._record_fallback(provider)
        if not self._over.locked():
            self._unfinished.append(attempt)
        self.record.attempts += 1
        return attempt

    @guarded
    def skipped(self, provider: str, error_type: ErrorType | str = ErrorType.UNAVAILABLE) -> None:
        """A provider is not asked, because it is known to be of no use now: whoever is asked next is a fallback from it."""
        self._before = (clean.name(provider), ErrorType(error_type))

    def _record_fallback(self, provider: str | None) -> None:
        if self._before is None or provider is None or self._before[0] == provider:
            return
        before, error_type = self._before
        self._before = None
        self.record.fallback = True
        bound = self.emitter.provider_labels.bound
        self.emitter.instruments.fallbacks.add(1, (bound(before), bound(provider), error_type))

    @overload
    def deliver(self, audio: bytes, format: AudioFormat) -> bytes: ...  # type: ignore[overload-overlap]  # bytes iterate, but are one piece
    @overload
    def deliver(
        self, audio: AsyncIterable[T], format: AudioFormat, payload: Payload | None = ...
    ) -> MeasuredAsyncIterator[T]: ...
    @overload
    def deliver(self, audio: Iterable[T], format: AudioFormat, payload: Payload | None = ...) -> MeasuredIterator[T]: ...
    def deliver(self, audio: Any, format: AudioFormat, payload: Payload | None = None) -> Any:
        """Hand audio that is there to the caller: cached, coalesced, or made as a whole by an attempt before it is sent in pieces.

        Bytes come back as they are, chunks as a measured iterator.
        """
        return self._cached(format).deliver(audio, payload)

    @guarded_or(lambda *_: NOOP)
    def _cached(self, format: AudioFormat) -> CachedAudio:
        return CachedAudio(self, format)

    @overload
    def stream(
        self, chunks: AsyncIterable[T], provider: str, model: str | None = ..., *,
        audio: AudioFormat, payload: Payload | None = ..., remote: bool = ...,
    ) -> MeasuredAsyncIterator[T]: ...  # fmt: skip
    @overload
    def stream(
        self, chunks: Iterable[T], provider: str, model: str | None = ..., *,
        audio: AudioFormat, payload: Payload | None = ..., remote: bool = ...,
    ) -> MeasuredIterator[T]: ...  # fmt: skip
    def stream(
        self, chunks: Iterable[T] | AsyncIterable[T], provider: str, model: str | None = None, *,
        audio: AudioFormat, payload: Payload | None = None, remote: bool = False,
    ) -> MeasuredIterator[T] | MeasuredAsyncIterator[T]:  # fmt: skip
        """The whole request in one: a single attempt at ``provider`` that yields ``chunks``; its end is the request's.

        An iterator for an iterable, an asynchronous one for an asynchronous; the provider counts as asked at the first pull.
        ``payload`` takes the audio bytes out of a chunk that is not bytes itself.
        """
        self._depth += 1
        self._streams()
        whole = _Whole(self, lambda: self.attempt(provider, model, remote=remote), audio)
        if isinstance(chunks, AsyncIterable):
            return MeasuredAsyncIterator(chunks, whole, payload)
        return MeasuredIterator(chunks, whole, payload)

    @guarded
    def _streams(self) -> None:
        """It is a stream, also where it was not begun as one."""
        if not self.record.stream:
            self.record.stream = True
            self._span.set_attribute(semconv.STREAM.key, True)
            self.emitter.instruments.active.add(-1, (False,))
            self.emitter.instruments.active.add(1, (True,))

    @guarded_or(lambda *_, **__: NOOP)
    def cache_write(self, tier: str) -> CacheWrite:
        """Put audio into a cache tier, perhaps after the request was answered: a block with a span of its own, linked to this one."""
        return CacheWrite(self.emitter, tier, Link(self._span.get_span_context()))

    # -- what else is known of it -------------------------------------------------------------------------------------------------

    @guarded
    def add_text(self, delta: str) -> None:
        """Text that arrives in pieces. The clock of a request without text starts at its first piece."""
        if not self._heard:
            self._extend(clean.spoken(delta))

    def _extend(self, delta: str) -> None:
        record = self.record
        if not record.characters and delta:
            record.start = self.timeline.monotonic()
        record.characters += len(delta)
        if self.emitter.settings.capture_text:
            record.text = (record.text or "") + delta

    @guarded
    def queued(self, seconds: float) -> None:
        """The request waited this long for a free engine."""
        waited = self.emitter.instruments.queue_wait.record(seconds, (), self.context)
        if waited is not None:
            self.record.queue_wait = (self.record.queue_wait or 0.0) + waited

    @guarded
    def encoded(self, format: str, seconds: float) -> None:
        """Encoding the audio took this long. ``format``: one of ``semconv.AUDIO_FORMATS``, others count as ``_OTHER``."""
        known = format if format in semconv.AUDIO_FORMATS else semconv.OTHER
        self.emitter.instruments.encode_duration.record(seconds, (known,), self.context)

    @guarded
    def score(self, name: str, value: float) -> None:
        """A quality model's verdict on the audio: 0 or more, in the scale of that model."""
        if not (exact := clean.number(value)) >= 0:
            raise ValueError(f"The score {name} is {value!r}; a score is a number of 0 or more.")
        emitter = self.emitter
        labels = emitter.score_labels.bound(name), emitter.voice_labels.bound(self.record.voice)
        emitter.instruments.score.record(exact, labels, self.context)

    @guarded
    def fail(
        self,
        error: BaseException | None = None,
        *,
        outcome: Outcome | str | None = None,
        error_type: ErrorType | str | None = None,
    ) -> None:
        """Say how the request fails. The first word counts, before anything that is found out later."""
        if self._declared is None:
            self._declared = declared(error, outcome, error_type)
            self._error = self._error or error

    # -- what its parts and its surroundings report; not for applications ---------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether the application is still at it."""
        return self._left is None

    def join(self, text: str | None, voice: str | None, language: str | None) -> None:
        """A Synthesis was asked for inside this one, and is this one. What it knows more is added."""
        record = self.record
        text = clean.spoken(text)
        if not record.characters and text:
            record.characters = len(text)
            record.text = text if self.emitter.settings.capture_text else None
        record.voice = record.voice or clean.optional_name(voice)
        record.language = record.language or clean.optional_name(language)
        self._span.set_attributes(record.start_attributes())

    def hear(self, delta: str) -> None:
        """Text as the RPC's own messages have it. Pieces that the application adds are the same once more from now on."""
        self._heard = True
        self._extend(delta)

    def denied(self, cause: Cause) -> None:
        """The answer itself says that it is none, whatever its status. What is known better already says why."""
        if self._declared is None and self._failed is None:
            self._declared = cause

    def found(
        self, tier: str, provider: str | None, model: str | None, duration: float | None, format: AudioFormat | None
    ) -> None:
        """A cache tier had the audio."""
        self._unasked(CacheResult.HIT, provider, model)
        self.record.tier = clean.name(tier)
        self.delivers(duration, format)

    def missed(self) -> None:
        """A cache tier did not have it."""
        if self.record.cache is CacheResult.BYPASS:
            self.record.cache = CacheResult.MISS

    def delivers(self, seconds: float | None, format: AudioFormat | None) -> None:
        """Audio that is there already has this length and format."""
        record = self.record
        if seconds is not None:  # what cannot be read here may be known from the cache
            record.duration = float(clean.number(seconds))
        if format is not None:
            record.format, record.sample_rate = format, getattr(format, "sample_rate", None)

    def attempted(self, attempt: Attempt, cause: Cause, facts: AudioFacts | None) -> None:
        """An attempt ended."""
        record = self.record
        if attempt in self._unfinished:
            self._unfinished.remove(attempt)
        if cause.good:
            self._failed = self._before = None
        elif cause.outcome is not Outcome.CANCELLED:
            self._failed = self._failed or cause
            self._before = (attempt.provider, cause.error_type)
        if cause.good and record.cache not in semconv.SERVED_FROM_CACHE:
            record.provider, record.model = attempt.provider, attempt.model
        if attempt.billable:
            record.billed.append((attempt.provider, attempt.model))
            if self.outcome is not None:  # its RPC ended before the engine did; the bill comes all the same
                record.charge(self.emitter, attempt.provider, attempt.model)
        if facts is not None:
            record.audio, record.format, record.sample_rate = facts, attempt.format, facts.sample_rate
            record.real_time_factor = attempt.real_time_factor
            if cause.good and facts.duration is not None:
                record.duration = (record.duration or 0.0) + facts.duration

    def interruption(self) -> Cause:
        """Why work for this request was cut off."""
        return self._call.interruption() if self._call is not None else outcome.CANCELLED

    # -- its end ------------------------------------------------------------------------------------------------------------------

    @guarded
    def leave(self, cause: Cause | None, error: BaseException | None, now: int | None = None) -> None:
        """The application is done with it: at the end of the outermost block or stream. Inside an RPC it now waits for that to end.

        ``now``: when that was, if it is past.
        """
        self._depth -= 1
        if self._depth > 0 or self._left is not None:
            return
        self._left = self.timeline.monotonic() if now is None else now
        self._error = self._error or error
        if self._call is None:
            self._finish(cause or self._verdict(), self._left)

    @guarded
    def settle(self) -> None:
        """Another Synthesis follows in the same RPC, so the RPC's end will say nothing of this one."""
        self._finish(self._verdict(), self._left if self._left is not None else self.timeline.monotonic())

    @guarded
    def close(self, code: str, interruption: Cause | None, error: BaseException | None) -> None:
        """The RPC ended; see ``Call.end``."""
        self._error = self._error or error
        if interruption is not None:
            verdict = interruption
        elif error is not None and code == "UNKNOWN":  # grpc's word for an exception that nobody caught
            verdict = outcome.from_exception(error)
        else:
            verdict = outcome.from_rpc_status(code, attempted=bool(self.record.attempts))
        self._finish(verdict, self.timeline.monotonic())

    def dropped(self) -> None:
        """It was dropped, perhaps inside the garbage collector: finish it later, as of now."""
        now = self.timeline.monotonic()
        self.emitter.instruments.defer(lambda: self._finish(self.interruption(), now))

    @guarded
    def __del__(self) -> None:
        over = getattr(self, "_over", None)
        if over is not None and not over.locked():
            self.dropped()

    def _verdict(self) -> Cause:
        return outcome.OK if self._error is None else outcome.from_exception(self._error)

    def _finish(self, verdict: Cause, end: int) -> None:
        if not self._over.acquire(blocking=False):
            return
        self.emitter.instruments.active.add(-1, (self.record.stream,))
        end = max(end, self.record.start)  # text may have come after what seemed to be the end
        try:
            for attempt in [a for a in self._unfinished if not a.entered]:  # a block ends by itself
                attempt.end(None, None, end)
            cause = self._decide(verdict)
            self.outcome = cause.outcome
            attributes = self.record.emit(self.emitter, cause, end, self.context)
            if self._span.is_recording():
                self._span.set_attributes(attributes)
                self._describe_failure(cause, end)
        finally:
            self._error = None  # no circle of references
            self._unfinished = []
            self._span.end(self.timeline.timestamp(end))

    def _decide(self, verdict: Cause) -> Cause:
        """The first cause: what the application said, an interruption, a failed attempt that nothing made good, how it was answered."""
        cause = verdict
        if self._declared is not None:
            cause = self._declared
        elif verdict.outcome not in (Outcome.CANCELLED, Outcome.DEADLINE) and self._failed is not None:
            cause = self._failed
        if cause.outcome in (Outcome.ERROR, Outcome.EMPTY) and self.record.handed_out:
            return Cause.of(Outcome.PARTIAL, cause.error_type)
        allowance = self._call.allowance if self._call is not None else None
        if cause.outcome is Outcome.DEADLINE and allowance is not None and allowance < self.emitter.settings.deadline_floor:
            return Cause.of(Outcome.REJECTED)  # nobody could have met it
        return cause

    def _describe_failure(self, cause: Cause, end: int) -> None:
        if cause.outcome not in semconv.FAILURES:
            return
        self._span.set_status(StatusCode.ERROR, str(cause.error_type))
        # An exception that a provider raised stands on its attempt already, one that nobody caught on the RPC.
        if self._error is not None and not self.record.attempts and self._call is None:
            attributes = exception_attributes(self._error, capture_text=self.emitter.settings.capture_text)
            self._span.add_event(semconv.EXCEPTION_EVENT.name, attributes, self.timeline.timestamp(end))

    def _unasked(self, cache: CacheResult, provider: str | None, model: str | None) -> None:
        provider, model = clean.optional_name(provider), clean.optional_name(model)
        self.record.discard_lookup()
        self.record.cache, self.record.provider, self.record.model = cache, provider, model
        self._record_fallback(provider)
        self._failed = self._before = None


class _Whole:
    """The source of :meth:`Synthesis.stream`: an attempt that begins with the first pull, and the request that ends with it."""

    def __init__(self, request: Synthesis, begin: Any, format: AudioFormat) -> None:
        self._request = request
        self._begin = begin
        self._format = format
        self._attempt: Attempt | None = None

    @property
    def context(self) -> Context:
        return self._asked().context

    def monotonic(self) -> int:
        return self._request.timeline.monotonic()

    def chunk(self, data: Any, now: int, waited: int) -> None:
        self._asked().chunk(data, now, waited)

    def waiting(self, waited: int) -> None:
        self._asked().waiting(waited)

    def finished(self, cause: Cause | None, error: BaseException | None, now: int | None = None) -> None:
        if self._attempt is not None:
            self._attempt.end(cause, error, now)
        ended = cause or (outcome.from_exception(error) if error is not None else self._request.interruption())
        self._request.leave(ended, error, now)

    def dropped(self) -> None:
        now = self.monotonic()
        self._request.emitter.instruments.defer(lambda: self.finished(None, None, now))

    def _asked(self) -> Attempt:
        if self._attempt is None:
            self._attempt = self._begin()
            self._attempt.expect(self._format)
        return self._attempt
