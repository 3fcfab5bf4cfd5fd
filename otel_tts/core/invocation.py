"""Invocation: the state of one call of a provider, from its start to the last of its audio.

Applications use it through an :class:`otel_tts.Attempt`; streams and instrumentations use it directly.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from opentelemetry.context import Context, create_key

from otel_tts import semconv
from otel_tts.core import attempt_span, outcome
from otel_tts.core.audio import AudioFormat, AudioMeter, NoAudio
from otel_tts.core.blocks import OUTSIDE
from otel_tts.core.clock import NANOSECOND, RequestClock
from otel_tts.core.deferred import collecting, defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.formats import checked
from otel_tts.core.guard import MisuseError, guarded
from otel_tts.core.leaving import LeftAttempt, by_status, left, meaning
from otel_tts.core.nested import Nesting, share
from otel_tts.core.once import Once, OnceInProcess
from otel_tts.core.outcome import Cause
from otel_tts.core.record import Record
from otel_tts.core.requester import Requester, cut_off
from otel_tts.core.resends import Resends
from otel_tts.core.result import InvocationResult
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.core.streams import Current
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.undecided import Undecided
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import AttemptReason, CancelReason, Outcome

INVOCATION = create_key("invocation")
"""The key of a weak reference to the Invocation, in the OpenTelemetry context in which its provider works."""


class Invocation(Nesting):
    """One call of a provider, and the source of the stream that it may return: see ``streams.Source``.

    Args:
        emitter: what all requests of its Telemetry share.
        timeline: the clock of the request.
        request: the request; None for a probe.
        provider: the provider.
        model: with which model; None: unknown.
        reason: why it is called.
        remote: whether the provider runs elsewhere (span kind CLIENT).
        start_ns: when it started, in nanoseconds; None: now.
    """

    def __init__(
        self, emitter: Emitter, timeline: RequestClock, request: Requester | None, provider: str, model: str | None,
        reason: AttemptReason, *, remote: bool, start_ns: int | None = None,
    ) -> None:  # fmt: skip
        self.block: Current | None = None
        """The block of the application that will end it; None without one."""
        self.open = True
        """Whether its provider is still working."""
        self._provider, self._model = provider, model
        self._emitter = emitter
        self._timeline = timeline
        self.monotonic = timeline.monotonic
        """Returns the clock's reading, in nanoseconds."""
        self._request = request
        self._text = request.text_input if request is not None else None
        self._playback = request.record.played() if request is not None else None
        self._sources = request.sources if request is not None else None
        self.turn = request.turn if request is not None else Turn()
        """The turn of its request."""
        self._reason = reason
        self._start_ns = timeline.monotonic() if start_ns is None else start_ns
        self.connection_reused: bool | None = None
        """Whether its connection had served another utterance or was opened in advance; None: unknown."""
        self.characters: int | None = None
        """Code points of the text that it is given; None: not known of this call by itself."""
        self.repeats = 0
        """How many of them the failed calls were given that it repeats or replaces."""
        self._format: AudioFormat | None = None
        self._declared: Cause | None = None
        self._meter: AudioMeter | None = None
        self._waited_ns: int | None = None
        self._chunks = self._chunks_before = 0  # before: those of streams that have ended
        self._failure = 0  # the id of the exception that its stream raised while its audio was wanted
        self._complete = False  # whether all of its audio came
        self._marked = -1  # the pieces of audio before the last chunk that had none; -1: each had some
        self.delivers = True
        """Whether its audio goes to the caller as it comes; else whoever delivers it later reports when."""
        self.handed_out = False
        """Whether some of its audio was delivered by whoever does so later."""
        self._first_byte_ns: int | None = None
        self._error: BaseException | None = None
        self._labels = emitter.maker(provider, model)
        parent = request.context if request is not None else Context()
        began_ns, record = timeline.timestamp(self._start_ns), request.record if request is not None else None
        self._span = attempt_span.start(
            emitter, began_ns, provider, model, self._labels[1], reason, record, parent, remote=remote
        )
        outside = parent.get(OUTSIDE, (None, parent))[1]  # type: ignore[index]
        work = {SPAN_KEY: self._span, INVOCATION: weakref.ref(self), OUTSIDE: (self._span, outside)}
        self.context: Context = Context({**parent, **work})
        """The context in which the provider works.

        It refers to this weakly: the application may keep the context for long, and an invocation that it dropped would never be finalised,
        so never be recorded.
        """
        self.resends = Resends(self._span, timeline, self.turn)
        """The requests that its SDK sent again."""
        self._end = Once() if request is not None else OnceInProcess()  # a request is left to the parent with all its attempts

    # -- its audio ----------------------------------------------------------------------------------------------------------------

    @guarded
    @in_turn
    def whole(self, data: Any, format: AudioFormat) -> None:
        """Take all the audio at once, in a form that :func:`otel_tts.core.payload.audio_bytes` accepts.

        Args:
            data: a chunk, or all the audio.
            format: how the samples are encoded.
        """
        self._complete = True
        self._waited_ns = self._for_engine(self._timeline.monotonic() - self._start_ns)
        self._meter_for(format).feed(data)

    @guarded
    @in_turn
    def expect(self, format: AudioFormat) -> None:
        """Set the format of the audio that will come.

        Args:
            format: how the samples are encoded.
        """
        if self._meter is None and (self.around is not None or self.inside is not None):
            share(self)
        self._meter_for(format)

    @in_turn
    def declare(self, cause: Cause, error: BaseException | None) -> None:
        """Take the application's statement of how it fails. The first one counts.

        Args:
            cause: how it ended.
            error: the exception that ended it; None without one.
        """
        if self._declared is None:
            self._declared = cause
            self._error = error

    # -- the source of a stream ---------------------------------------------------------------------------------------------------

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """Measure a chunk that came.

        Args:
            data: a chunk, or all the audio.
            now_ns: when, on the clock of the request, in nanoseconds.
            waited_ns: how long it was waited for, in nanoseconds.
        """
        turn, playback, meter, text = self.turn, self._playback, self._meter, self._text
        try:  # as `in_turn` does, in fewer calls: this is called for each chunk of a stream
            with turn.lock:
                counts = self.open or (self._sources is not None and not self._sources.recorded)  # its request may go on
                if text is not None and text.waits:
                    waited_ns = self._for_engine(waited_ns)
                self._waited_ns = (self._waited_ns or 0) + waited_ns
                pieces, total_s = (meter.pieces, meter.feed(data)) if meter is not None else (0, 0.0)
                if meter is None or meter.pieces == pieces:  # no audio came, for example only a header
                    self._marked = self._chunks
                    if playback is not None and self.delivers:
                        playback.waiting(waited_ns)
                else:
                    self._chunks += 1
                    if self._first_byte_ns is None:
                        self._first_byte_ns = now_ns
                    if playback is not None and self.delivers:
                        playback.chunk(meter, total_s, now_ns, waited_ns)
        finally:
            if turn.left:
                turn.leave()
        if not counts:
            UNDER_WAY.hold()

    @in_turn
    def waiting(self, waited_ns: int) -> None:
        """Count time spent waiting for the engine, without the time of the consumer and the time without text to speak.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """
        self._waited_ns = (self._waited_ns or 0) + self._for_engine(waited_ns)

    def _for_engine(self, waited_ns: int) -> int:
        """Return the part of the time until now that was not spent waiting for text."""
        if self._text is None:
            return waited_ns
        return max(0, waited_ns - self._text.take_waits_ns(self._timeline.monotonic() - waited_ns))

    def dropped(self) -> None:
        """End later, with the current time, since the stream was dropped: ending takes locks, which a finaliser must not do."""
        now_ns = self._timeline.monotonic()
        defer(lambda: self.turn.leave(lambda: self.finished(None, None, now_ns)))

    @in_turn
    def finished(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End with the stream, unless the invocation has a block that is still running.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
            now_ns: when, on the clock of the request, in nanoseconds; None: now.
        """
        self._complete = cause is not None and cause.good
        self._chunks_before = self._chunks
        if error is not None and not cut_off(self._request):
            self._failure = id(error)
        if self.block is None:
            self.end(cause, error, now_ns)

    @guarded
    def __del__(self) -> None:
        """Note the time and defer the rest.

        A finaliser may run while its thread holds any lock: ending it here could wait for ever for that lock. `_end` is missing when the
        constructor raised.
        """
        end = getattr(self, "_end", None)
        if end is not None and not end.done:
            now_ns = self._timeline.monotonic()
            defer(lambda: self.turn.leave(lambda: self.end(None, None, now_ns)))

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child: its parent ends and counts it."""
        self.open = False
        self._end.claim()

    # -- the end ------------------------------------------------------------------------------------------------------------------

    @guarded
    @in_turn
    def end(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End it; calls after the first do nothing.

        Args:
            cause: why it ended; None: what ``error`` means, and without an error an interruption.
            error: the exception that ended it.
            now_ns: when it ended, if that is in the past: on the clock of the request, in nanoseconds.
        """
        if collecting():
            defer(functools.partial(self.end, cause, error, self._timeline.monotonic() if now_ns is None else now_ns))
            return
        if not self._end.claim():
            return
        how = self._left(error) if cause is None and error is not None and self._declared is None else None
        cause = self._final_cause(how.cause if how is not None else cause, error)
        self.open = False
        # A request that was dropped may have continued after that time.
        now_ns = self._timeline.monotonic() if now_ns is None else max(now_ns, self._start_ns)
        if self.around is not None:
            self.handed_out = self.leave_around(good=cause.good) or self.handed_out
        result = InvocationResult(self._provider, self._model, cause, delivered=self.delivers or self.handed_out)
        result.connection_reused, result.resends, result.characters = self.connection_reused, self.resends.count, self.characters
        finish = functools.partial(self._finish, result, self._request.record if self._request is not None else None, now_ns)
        waits = how is not None and self._sources is not None and not self._sources.over and cause.outcome is Outcome.CANCELLED
        given_up = self._final_cause(how.given_up, None) if how is not None and waits else None
        raised = error if error is not None else self._error
        self._request = self._error = None  # breaks the circle of references, so that both are freed at once
        if how is None or given_up is None or self._sources is None:
            finish(cause, raised)
            return
        self._sources.undecided.append(Undecided(self._provider, finish, cause, given_up, how.cut_off))
        if cause == outcome.STOPPED and raised is not None:  # now, since it refers to its frames, and they to the request
            self._emitter.add_exception(self._span, raised, self._timeline.timestamp(now_ns))

    def _left(self, error: BaseException) -> LeftAttempt | None:
        has_begun = self._complete or self._chunks > 0 or self._marked >= 0
        in_body = self.block is not None and not self._failure and has_begun
        return left(error, self._request, in_body=in_body, has_audio=self.has_audio)

    def _finish(
        self, result: InvocationResult, record: Record | None, now_ns: int, cause: Cause, error: BaseException | None = None
    ) -> None:
        result.cause = cause
        if self.inside is not None and self._is_replaced(self.inside, cause):
            self._span.update_name(semconv.ENCLOSING_SPAN.name)
            self._span.end(self._timeline.timestamp(now_ns))
            return
        try:
            if self._meter is not None and (self.inside is None or not self.inside.made_audio()):
                result.audio, result.format = self._meter.facts(), self._meter.format
            self._record(result, record, now_ns)
            attempt_span.describe(
                self._span, self._emitter, self._timeline, result, record, error,
                chunks=self._chunks, first_byte_ns=self._first_byte_ns, end_ns=now_ns,
            )  # fmt: skip
        except BaseException as fault:
            if not result.counted and not isinstance(fault, MemoryError):
                # A signal handler of the host has raised in the middle: the span would be recorded, and its points would be missing.
                self._record(result, record, now_ns)
            raise
        finally:
            try:
                if self._sources is not None:
                    self._sources.invocation_ended(self, result)
            finally:
                try:
                    self._span.end(self._timeline.timestamp(now_ns))
                except BaseException:
                    if self._span.is_recording():  # a signal handler of the host has raised before it had ended
                        self._span.end(self._timeline.timestamp(now_ns))
                    raise

    def _final_cause(self, cause: Cause | None, error: BaseException | None) -> Cause:
        if self._declared is not None:
            cause = self._declared
        elif cause is None:
            raised = self._failure == id(error)
            cause = meaning(error, self._request, raised=raised, has_audio=self.has_audio)
        if cause.cancel_reason is CancelReason.STOPPED:
            return outcome.STOPPED
        if cause.good and self._cut_off():
            cause = outcome.CANCELLED
        if cause.outcome is Outcome.CANCELLED and self._request is not None:
            interruption = self._request.interruption()
            if interruption.outcome in (Outcome.CANCELLED, Outcome.DEADLINE):
                cause = interruption
            else:  # a fault of the service must not count as a failure of the provider
                cause = Cause(Outcome.CANCELLED, None, interruption.cancel_reason)
        if cause.good and not self.has_audio:
            cause = by_status(cause, self._request, has_audio=self.has_audio)
            if self._meter is None or not cause.good:
                return cause
            if isinstance(self._meter.format, NoAudio):
                return outcome.WORDS
            can_speak = self._request.record.speakable if self._request is not None else None
            return outcome.UNSPEAKABLE if can_speak is False else outcome.EMPTY
        if cause.outcome is Outcome.ERROR and self._chunks and self._request is not None and self._request.record.stream:
            return cause.as_partial()
        return cause

    def _cut_off(self) -> bool:
        """Return whether its request was interrupted, or its block was left, before all of its audio came, without an exception."""
        if self._request is None:
            return False
        if self._request.record.interrupted_ns is None:
            # A chunk without audio is the engine's own mark of the end.
            early = 0 < self._chunks != self._marked and (self._chunks > self._chunks_before or not self._complete)
            return early and self.block is not None and not self._failure and self._request.record.stream
        return (self.block is not None and not self._complete) or (self._meter is not None and not self.has_audio)

    def _record(self, result: InvocationResult, record: Record | None, now_ns: int) -> None:
        cause = result.cause
        result.billable = self.has_audio and (self.inside is None or not self.inside.made_audio())
        if result.billable and self.characters is None and not self.repeats and self._text is not None:
            self._text.spoken_unknown()
        result.waited_s = self._waited_ns * NANOSECOND if self._waited_ns is not None else None
        if self._first_byte_ns is not None and record is not None and record.stream:
            result.first_chunk_s = (self._first_byte_ns - self._start_ns) * NANOSECOND
        result.emit(
            self._emitter, self._labels, self.context, reason=self._reason, duration_s=(now_ns - self._start_ns) * NANOSECOND,
            counted=record is None or record.purpose.interactive,
        )  # fmt: skip
        # A probe without audio proves nothing about the provider: only speech shows that it can speak.
        if self.has_audio or not (cause.good and self._reason is AttemptReason.PROBE):
            self._emitter.providers.get(self._provider).attempted(cause)
        if cause.good and result.audio is not None and record is not None:
            record.emit_quality(self._emitter, self._labels[0], result.audio, self.context)

    @property
    def hands_out(self) -> bool:
        """Whether the caller's task has entered its block, and its stream has handed out audio and not ended.

        Then a generator yields that audio inside the block, and its consumer is the caller, or its own code between two pieces.
        """
        return self.open and self._chunks > self._chunks_before and self.block is not None and self.block.entered_here()

    def _meter_for(self, format: AudioFormat) -> AudioMeter:
        declared = checked(format)
        if self._meter is None:
            self._format = declared
            self._meter = AudioMeter(declared)
        elif declared != self._format:
            raise MisuseError(f"The attempt's audio is {self._format}, so {declared} cannot follow: use one attempt for each.")
        return self._meter
