"""The state of one request to speak, and the only place where its span starts and its metrics are recorded.

Applications use it through a :class:`otel_tts.Synthesis`; invocations of providers, cache blocks, streams, the RPC around it and
instrumentations use it directly. Every way in which it can end calls :meth:`SynthesisRequest._finish`, which acts once: outside an RPC
the end of its block or stream, inside an RPC the end of the RPC, and for a request that was dropped its finaliser.
"""

from __future__ import annotations

import functools
import weakref

from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanContext, SpanKind

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.blocks import REQUEST, OpenBlocks
from otel_tts.core.call import Call, RpcEnding
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import collecting, defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.enclosure import NO_HOST_FAILURE, Enclosure
from otel_tts.core.final import final_cause
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.once import Once
from otel_tts.core.outcome import Cause
from otel_tts.core.purpose import NONE, Purpose
from otel_tts.core.record import Record
from otel_tts.core.sources import AudioSources
from otel_tts.core.span_key import context_with
from otel_tts.core.texts import TextInput, speakable
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import CancelReason, Outcome


class SynthesisRequest:
    """One request to speak.

    Args:
        emitter: what all requests of its Telemetry share.
        call: the RPC that it is part of, whose end then decides its outcome.
        text: as received; None if it is not known yet.
        voice: as requested.
        language: as requested.
        stream: whether audio is delivered in pieces.
        purpose: what it is for.
        start_ns: when it began, if that is in the past: on the clock of the request, in nanoseconds.
        around: the enclosure in which it starts; if that fails, it explains a request that was left.
        implicit: whether a call of an engine or SDK alone starts it: after a failure it may continue in its enclosure.
    """

    def __init__(
        self,
        emitter: Emitter,
        call: Call | None,
        text: str | None,
        voice: str | None,
        language: str | None,
        *,
        stream: bool,
        purpose: Purpose,
        start_ns: int | None = None,
        around: Enclosure | None = None,
        implicit: bool = False,
    ) -> None:
        self.emitter = emitter
        self.turn = call.turn if call is not None else Turn()
        """The turn that the request and everything inside it share."""
        self.timeline = call.timeline if call is not None else RequestClock(emitter.clock)
        self.outcome: Outcome | None = None
        """How it ended; None while it is open."""
        spoken = clean.spoken(text)
        captured_text = spoken if emitter.settings.capture_text and text is not None else None
        if start_ns is None:
            start_ns = call.start() if call is not None else self.timeline.start
        self.record = Record(
            bool(stream), clean.optional_name(voice), clean.optional_name(language), len(spoken), captured_text, start_ns, purpose
        )
        self.record.speakable = None if text is None else speakable(spoken)
        self._call = call
        self.implicit = implicit and around is not None
        """Whether a call of an engine or SDK alone started it, inside an enclosure."""
        # Weak: the enclosure may refer to this request. In a circle, neither would reach its finaliser before a garbage collection.
        self._enclosure = weakref.ref(around) if around is not None else None
        self._host_failure = around.host_failure if around is not None else NO_HOST_FAILURE
        self._left = False  # dropped by the application before its end
        self._released: Cause | None = None  # how it ended for the application
        self._released_ns: int | None = None
        self._declared: Cause | None = None  # by the application
        self._interruption: Cause | None = None  # why it was cut off
        self._error: BaseException | None = None
        parent = get_current()
        start, attributes = self.timeline.timestamp(start_ns), self.record.start_attributes(emitter)
        self._span = emitter.start_span(semconv.SYNTHESIS_SPAN.name, SpanKind.INTERNAL, start, attributes, parent)
        kept, message_at = spoken if self.implicit else None, call.message_at if call is not None else None
        self.text_input = TextInput(
            self.record, self.timeline, self.turn, capture=emitter.settings.capture_text, kept=kept, message_at=message_at
        )
        self.sources = AudioSources(emitter, self.record, self._span, self.timeline, self.turn)
        # A weak reference, here and in the context: an application may keep a context for as long as it likes, and a request that it
        # dropped would never reach its finaliser, so never be counted.
        reference = weakref.ref(self)
        self._blocks = OpenBlocks(reference)
        self.context: Context = context_with(parent, self._span, REQUEST, reference)
        """The OpenTelemetry context of all work for this request."""
        self._active = emitter.instruments.active_requests.add(id(self), self.record.stream)
        self._end = Once()
        if call is not None:
            call.adopt(self)
        else:
            UNDER_WAY.add(self)

    @property
    def span_context(self) -> SpanContext:
        """The context of its span."""
        return self._span.get_span_context()

    @property
    def open(self) -> bool:
        """Whether the application has not finished it yet."""
        return self._released_ns is None

    def part_of(self, call: Call) -> bool:
        """Return whether it belongs to this RPC.

        Args:
            call: the RPC.
        """
        return self._call is call

    @property
    def finished(self) -> bool:
        """Whether it has ended, or is being ended."""
        return self._end.done

    # -- blocks and streams of the application ------------------------------------------------------------------------------------

    @in_turn
    def enter_block(self) -> None:
        """Enter a block of the application."""
        self._blocks.enter()

    @in_turn
    def exit_block(self, error: BaseException | None) -> None:
        """Leave a block of the application.

        Args:
            error: the exception that the application reports, or that left the block; None without one.
        """
        self._blocks.leave(error)
        self._release(None, error)

    @guarded
    @in_turn
    def begin_stream(self) -> None:
        """Start a stream, which ends with :meth:`release`. From now on audio is delivered in pieces, also if ``stream`` was False."""
        self._blocks.open_stream()
        self._deliver_in_pieces()

    def _deliver_in_pieces(self) -> None:
        if not self.record.stream:
            self.record.stream = True
            self._span.set_attribute(semconv.STREAM.key, True)
            self._active.discard(id(self))
            self._active = self.emitter.instruments.active_requests.add(id(self), True)

    # -- facts that become known later --------------------------------------------------------------------------------------------

    @in_turn
    def update(self, text: str | None, voice: str | None, language: str | None, purpose: Purpose = NONE) -> None:
        """Add what an inner layer knows in addition.

        Args:
            text: as received; None: unknown.
            voice: as requested; None: unknown.
            language: as requested; None: unknown.
            purpose: what it is for.
        """
        record = self.record
        record.purpose = record.purpose.update(purpose)
        self.text_input.complete(clean.spoken(text))
        record.voice = record.voice or clean.optional_name(voice)
        record.language = record.language or clean.optional_name(language)
        self._span.set_attributes(record.start_attributes(self.emitter))

    @in_turn
    def interrupt(self, reason: CancelReason | str, heard_s: float | None = None) -> None:
        """Note that it is cut off. The first call counts; audio that is handed out afterwards is too late.

        Args:
            reason: why.
            heard_s: seconds of audio that the listener heard, if the player reports it.
        """
        if heard_s is not None:
            self.record.hear("heard", heard_s)
        if self.finished or self.record.interrupted_ns is not None:
            return
        self._interruption = outcome.interrupted(reason)
        self.record.interrupted_ns = self.timeline.monotonic()
        if self._declared is None:
            self._declared = self._interruption
        if self._span.is_recording():
            self._span.add_event(semconv.INTERRUPTED_EVENT.name, None, self.timeline.timestamp(self.record.interrupted_ns))

    @in_turn
    def declare(self, cause: Cause, error: BaseException | None) -> None:
        """Take the application's statement of how it fails. The first one counts.

        Args:
            cause: how it failed.
            error: the exception that the application reports, or that left the block; None without one.
        """
        if self._declared is None:
            self._declared = cause
            self._error = self._error or error

    @in_turn
    def answer_failed(self, cause: Cause) -> None:
        """Note that the response itself reports a failure, whatever its status. A more exact cause that is known already counts more.

        Args:
            cause: how it failed.
        """
        if self._declared is None and self.sources.failure is None:
            self._declared = self.record.without_audio(cause)

    # -- its end ------------------------------------------------------------------------------------------------------------------

    def interruption(self) -> Cause:
        """Return why work for this request was cut off."""
        if self._interruption is not None:
            return self._interruption
        return self._call.interruption() if self._call is not None else outcome.CANCELLED

    @guarded
    @in_turn
    def release(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End a block or stream. The end of the outermost one ends the request; inside an RPC, the end of the RPC does.

        Args:
            cause: how it ended; None: as far as it is known.
            error: the exception that ended it.
            now_ns: when it ended, if that is in the past: on the clock of the request, in nanoseconds.
        """
        self._release(cause, error, now_ns)

    def _release(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        if collecting():
            defer(functools.partial(self.release, cause, error, self.timeline.monotonic() if now_ns is None else now_ns))
            return
        if not self._blocks.close() or self._released_ns is not None:
            return
        self._released_ns = self.timeline.monotonic() if now_ns is None else now_ns
        self._error = self._error or error
        self._released = cause or self._apparent_cause()
        if not self._kept(self._released) and (self._call is None or not self._call.decides(self)):
            self._settle()

    def _kept(self, cause: Cause) -> bool:
        """Return whether its enclosure, which may still change how it ended, keeps it until then: nobody interrupted it, and it failed.

        A new call with the same text continues it. If it was made by hand and left, a failure of the code around explains it.
        """
        enclosure = self._enclosure() if self._enclosure is not None else None
        if enclosure is None or self.record.interrupted_ns is not None:
            return False
        final = self._final_cause(cause, interrupted=self._left)
        return (not final.good if self.implicit else final == outcome.CANCELLED) and enclosure.keep(self)

    @guarded
    @in_turn
    def settle(self) -> None:
        """End it with the outcome that is known so far; neither a new call nor the end of an RPC will change it."""
        self._settle()

    def _settle(self) -> None:
        ended = self._released or self._apparent_cause()
        cause = self._host_failure.explain(ended)
        caller_left = cause is ended and (self._left or (self.implicit and cause.outcome is Outcome.CANCELLED))
        end_ns = self._released_ns if self._released_ns is not None else self.timeline.monotonic()
        self._finish(cause, end_ns, interrupted=caller_left)

    @guarded_or(lambda *_, **__: False)
    @in_turn
    def reopen(self, voice: str | None, language: str | None, purpose: Purpose, *, stream: bool) -> bool:
        """Continue after a failure, with another call for the same text; return False if it has ended in the meantime.

        Args:
            voice: as requested; None: unknown.
            language: as requested; None: unknown.
            purpose: what it is for.
            stream: whether audio is delivered in pieces.
        """
        if self.finished:
            return False
        self._released_ns = self._released = self._error = None
        self._blocks.reopen()
        self.sources.go_on()
        if self._call is not None:
            self._call.adopt(self)
        if stream:
            self._deliver_in_pieces()
        self.update(None, voice, language, purpose)
        return True

    @guarded
    def close(self, ending: RpcEnding) -> None:
        """End it, since its RPC ended. Its Call has the turn.

        Args:
            ending: how the RPC ended.
        """
        self._error = self._error or ending.error
        if ending.interruption is not None:
            self._finish(ending.interruption, ending.now_ns, interrupted=True, final=ending.final)
        elif ending.cause is not None:
            self._finish(ending.cause, ending.now_ns)
        else:
            self._finish(outcome.from_rpc_status(ending.status, attempted=bool(self.record.attempts)), ending.now_ns)

    ending = False  # only an RPC knows that its end is near

    def stop(self) -> None:
        """End it, since the process ends."""
        now_ns = self.timeline.monotonic()
        self.turn.leave(lambda: self._stop(now_ns))

    @guarded
    def _stop(self, now_ns: int) -> None:
        if self._released_ns is not None and self._call is None:
            self._settle()
            return
        self._interruption = self._interruption or outcome.SHUTDOWN  # also of the attempts that end with it
        self._finish(outcome.SHUTDOWN, now_ns, interrupted=True, final=True)

    def __del__(self) -> None:
        end = getattr(self, "_end", None)  # missing when the constructor raised
        if end is not None and not end.done:
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        # A finaliser may run in the middle of any code, for example while its thread holds an exporter's lock: so it only notes the
        # time and defers the rest. Finishing here could wait for ever for that lock.
        now_ns = self.timeline.monotonic()
        defer(lambda: self.turn.leave(lambda: self._finish_dropped(now_ns)))

    @guarded
    def _finish_dropped(self, now_ns: int) -> None:
        if self._call is not None:
            self._finish(self.interruption(), now_ns, interrupted=True)
            return
        if self._released is None:
            self._left, self._released, self._released_ns = True, self.interruption(), now_ns
        if not (self._left and self._kept(self._released)):
            self._settle()

    def _apparent_cause(self) -> Cause:
        return outcome.OK if self._error is None else outcome.from_exception(self._error)

    def _finish(self, cause: Cause, end_ns: int, *, interrupted: bool = False, final: bool = False) -> None:
        """Finish it; calls after the first do nothing. final: the process ends, so that nothing will end by itself any more."""
        if not self._end.claim():
            return
        self._active.discard(id(self))
        end_ns = max(end_ns, self.record.start_ns)  # the first text, which sets the start, may have come after the end was noted
        try:
            self.sources.end_unfinished(end_ns, final=final)
            cause = self._final_cause(cause, interrupted=interrupted)
            self.outcome = cause.outcome
            self.sources.recorded = True
            describe = self._span.is_recording()
            for attributes in self.record.emit(self.emitter, cause, end_ns, self.context, describe=describe):
                self._span.set_attributes(attributes)
            if describe:
                # An exception of a provider is on the span of the attempt already, and one that nobody caught on the span of the RPC.
                error = self._error if not self.record.attempts and self._call is None else None
                self.emitter.describe_failure(self._span, cause, error, self.timeline.timestamp(end_ns))
        finally:
            # An exception refers to its frames, and they refer to this request and all their other variables: without this, that circle
            # would stay in memory until the next garbage collection.
            self._error = None
            self._span.end(self.timeline.timestamp(end_ns))
            if self._call is None:
                # Last: a shutdown waits for it, and would else export before these points and this span are recorded.
                UNDER_WAY.remove(self)

    def _final_cause(self, ended: Cause, *, interrupted: bool) -> Cause:
        in_vain = self._call is not None and self._call.has_less_than(self.emitter.settings.deadline_floor)
        return final_cause(self.record, ended, self._declared, None if interrupted else self.sources.failure, in_vain=in_vain)
