"""The state of one request to speak, and the only place where its span starts and its metrics are recorded.

Applications use it through a :class:`otel_tts.Synthesis`; invocations of providers, cache blocks, streams, the RPC around it and
instrumentations use it directly. Every way in which it can end calls :meth:`SynthesisRequest._finish`, which acts once: outside an RPC
the end of its block or stream, inside an RPC the end of the RPC, and for a request that was dropped its finaliser.
"""

from __future__ import annotations

import functools
import weakref

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.abandoned import Abandonable
from otel_tts.core.blocks import OUTSIDE, REQUEST, KeptOpen
from otel_tts.core.call import Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import collecting, defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.enclosure import NO_HOST_FAILURE, Enclosure
from otel_tts.core.final import apparent_cause, final_cause
from otel_tts.core.guard import guard, guarded, guarded_or
from otel_tts.core.outcome import Cause
from otel_tts.core.place import Place
from otel_tts.core.purpose import NONE, Purpose
from otel_tts.core.record import Record
from otel_tts.core.sources import AudioSources
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.core.texts import TextInput, speakable
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import CancelReason, Outcome, RequestKind


class SynthesisRequest(Abandonable, KeptOpen):
    """One request to speak.

    Args:
        emitter: what all requests of its Telemetry share.
        call: the RPC that it is part of, whose end then decides its outcome; None: none.
        turn: the turn that the request and everything inside it share.
        text: as received; None if it is not known yet.
        voice: as requested.
        language: as requested.
        stream: whether audio is delivered in pieces.
        purpose: what it is for.
        parent: the OpenTelemetry context in which it starts.
        start_ns: when it began, if that is in the past: on the clock of the request, in nanoseconds; None: now.
        around: the enclosure in which it starts; if that fails, it explains a request that was left; None: none.
        implicit: whether a call of an engine or SDK alone starts it: after a failure it may continue in its enclosure.
    """

    def __init__(
        self,
        emitter: Emitter, call: Call | None, turn: Turn, text: str | None, voice: str | None, language: str | None, stream: bool,
        purpose: Purpose, parent: Context, start_ns: int | None, around: Enclosure | None, implicit: bool,
    ) -> None:  # fmt: skip
        super().__init__(turn)
        stream = bool(stream)
        self.emitter = emitter
        self.timeline = call.timeline if call is not None else RequestClock(emitter.clock)
        self.outcome: Outcome | None = None
        """How it ended; None while it is open."""
        spoken = clean.spoken(text)
        if start_ns is None:
            start_ns = call.start() if call is not None else self.timeline.start
        voice, language = emitter.voice_labels.name(voice), emitter.language_labels.name(language)
        can_speak = speakable(spoken) if spoken or clean.is_text(text) else None
        captured_text = spoken if emitter.settings.capture_text and can_speak is not None else None
        self.record = record = Record(stream, voice, language, len(spoken), captured_text, start_ns, purpose, can_speak)
        self._call = call
        self.implicit = implicit and around is not None
        """Whether a call of an engine or SDK alone started it, inside an enclosure."""
        # Weak: the enclosure may refer to this request. In a circle, neither would reach its finaliser before a garbage collection.
        self._enclosure = weakref.ref(around) if around is not None else None
        self._host_failure = around.host_failure if around is not None else NO_HOST_FAILURE
        self._left = False  # dropped by the application before its end
        self._released: Cause | None = None  # how it ended for the application
        self._released_ns: int | None = None
        self.declared: Cause | None = None
        """How it fails, by the application; None: that does not say."""
        self._interruption: Cause | None = None  # why it was cut off
        self._error: BaseException | None = None
        start, attributes = self.timeline.timestamp(start_ns), record.start_attributes(emitter)
        self._span = span = emitter.start_span(semconv.SYNTHESIS_SPAN.name, SpanKind.INTERNAL, start, attributes, parent)
        message_at = call.message_at if call is not None else None
        self._text_input: TextInput | None = None
        if self.implicit or message_at is not None:
            self._text_input = self._new_text_input(spoken if self.implicit else None, message_at)
        self.sources = AudioSources(emitter, record, span, self.timeline, self.turn)
        # A weak reference: an application may keep a context for as long as it likes, and a request that it dropped would never reach
        # its finaliser, so never be counted.
        self.context: Context = Context({**parent, SPAN_KEY: span, REQUEST: self._reference, OUTSIDE: (span, parent)})
        """The OpenTelemetry context of all work for this request."""
        self._active = emitter.instruments.active_requests.ids(stream)
        self.finished = False
        """Whether it has ended, or is being ended."""
        self._active.add(id(self))  # last: from here on the finaliser ends it, if a signal handler of the host raises
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

    @property
    def delivery(self) -> tuple[bool, RequestKind]:
        """Whether its audio is delivered in pieces, and who waits for it."""
        return self.record.stream, self.record.purpose.kind

    @property
    @in_turn
    def text_input(self) -> TextInput:
        """Its text, for what arrives in pieces."""
        if self._text_input is None:
            self._text_input = self._new_text_input()
        return self._text_input

    def _new_text_input(self, kept: str | None = None, message_at: Place | None = None) -> TextInput:
        capture = self.emitter.settings.capture_text
        return TextInput(self.record, self.timeline, self.turn, capture=capture, kept=kept, message_at=message_at)

    def part_of(self, call: Call) -> bool:
        """Return whether it belongs to this RPC.

        Args:
            call: the RPC.
        """
        return self._call is call

    # -- blocks and streams of the application ------------------------------------------------------------------------------------

    @guarded
    @in_turn
    def begin_stream(self) -> None:
        """Start a stream, which ends with :meth:`release`. From now on audio is delivered in pieces, also if ``stream`` was False."""
        self._depth += 1
        self._deliver_in_pieces()

    def _deliver_in_pieces(self) -> None:
        if not self.record.stream and not self.finished:
            self.record.stream = True
            self._span.set_attribute(semconv.STREAM.key, True)
            before, self._active = self._active, self.emitter.instruments.active_requests.ids(True)
            self._active.add(id(self))
            before.discard(id(self))

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
        self.declared = self.declared or self._interruption
        if self._span.is_recording():
            self._span.add_event(semconv.INTERRUPTED_EVENT.name, None, self.timeline.timestamp(self.record.interrupted_ns))

    @in_turn
    def declare(self, cause: Cause, error: BaseException | None) -> None:
        """Take the application's statement of how it fails. The first one counts.

        Args:
            cause: how it failed.
            error: the exception that the application reports, or that left the block; None without one.
        """
        if self.declared is None:
            self.declared = cause
            self._error = self._error if self._error is not None else error

    @in_turn
    def answer_failed(self, cause: Cause) -> None:
        """Note that the response itself reports a failure, whatever its status. A more exact cause that is known already counts more.

        Args:
            cause: how it failed.
        """
        if self.declared is None and self.sources.failure is None:
            self.declared = self.record.without_audio(cause)

    # -- its end ------------------------------------------------------------------------------------------------------------------

    def interruption(self) -> Cause:
        """Return why work for this request was cut off."""
        around = self._call.interruption() if self._call is not None else self._host_failure.interruption
        return self._interruption or around

    def rpc_status(self) -> str | None:
        """Return the name of the status that the handler of its RPC has set; None without one."""
        return self._call.status() if self._call is not None else None

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
        """End it with the outermost block or stream; with the outermost block, if it was interrupted: nobody will pull its streams."""
        if collecting():
            defer(functools.partial(self.release, cause, error, self.timeline.monotonic() if now_ns is None else now_ns))
            return
        self._depth -= 1
        if self._released_ns is not None or (self._depth > 0 and (self._depths or self.record.interrupted_ns is None)):
            return
        self._released_ns = self.timeline.monotonic() if now_ns is None else now_ns
        self._error = self._error if self._error is not None else error
        self._released = cause or self._apparent_cause()
        if self._enclosure is not None and self._kept(self._released):
            return
        if self._call is None or not self._call.decides(self):
            self._settle()

    def _kept(self, cause: Cause) -> bool:
        """Return whether its enclosure, which may still change how it ended, keeps it until then: nobody interrupted it, and it failed.

        A new call with the same text continues it. If it was made by hand and left, a failure of the code around explains it.
        """
        enclosure = self._enclosure() if self._enclosure is not None else None
        if enclosure is None or self.record.interrupted_ns is not None:
            return False
        final = self._final_cause(cause, interrupted=self._left)
        return (not final.good if self.implicit else final in (outcome.CANCELLED, outcome.HEAD)) and enclosure.keep(self)

    @guarded
    @in_turn
    def settle(self) -> None:
        """End it with the outcome that is known so far; neither a new call nor the end of an RPC will change it."""
        self._settle()

    def _settle(self) -> None:
        ended = self._released or self._apparent_cause()
        cause = self._host_failure.explain(ended, self.record)
        caller_left = cause is ended and (self._left or (self.implicit and cause.outcome is Outcome.CANCELLED))
        end_ns = self._released_ns if self._released_ns is not None else self.timeline.monotonic()
        self._finish(cause, end_ns, interrupted=caller_left or cause.cancel_reason is CancelReason.STOPPED)

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
        self._depth = 0
        self.sources.go_on()
        if self._call is not None:
            self._call.adopt(self)
        if stream:
            self._deliver_in_pieces()
        self.update(None, voice, language, purpose)
        return True

    def close(
        self, status: str, now_ns: int, error: BaseException | None, cause: Cause | None, interruption: Cause | None, final: bool
    ) -> None:
        """End it, since its RPC ended. Its Call has the turn.

        Args:
            status: the name of the gRPC status code that its caller got, or of the one that means the same.
            now_ns: when, on the clock of the RPC, in nanoseconds.
            error: the exception that left its handler; None without one.
            cause: what that means, where the status does not say it.
            interruption: why it was cut off; None if it was not.
            final: whether the process ends, so that nothing inside will end by itself any more.
        """
        self._error = self._error if self._error is not None else error
        try:
            ended = interruption or cause or outcome.from_rpc_status(status, attempted=self.record.attempts > 0)
            self._finish(ended, now_ns, interrupted=interruption is not None, final=final)
        except Exception as fault:  # noqa: BLE001 - the boundary: the RPC ends all the same
            guard.caught("SynthesisRequest.close", fault)

    def _apparent_cause(self) -> Cause:
        return outcome.OK if self._error is None else apparent_cause(self.record, self.sources, self._error)

    def _finish(  # noqa: C901 - a call less, for each request
        self, cause: Cause, end_ns: int, *, interrupted: bool = False, final: bool = False
    ) -> None:
        """Finish it; calls after the first do nothing. final: the process ends, so that nothing will end by itself any more."""
        if self.finished:
            return
        ends_here = True
        try:
            self.finished = True
            self._active.discard(id(self))
            end_ns = max(
                end_ns, self.record.start_ns
            )  # the first text, which sets the start, may have come after the end was noted
            self.sources.end_unfinished(end_ns, final=final)
            cause = self._final_cause(cause, interrupted=interrupted)
            self.outcome = cause.outcome
            self.sources.recorded = True
            if self.layers is not None and self.layers.replace(self, cause):
                return
            describe = self._span.is_recording()
            for attributes in self.record.emit(self.emitter, cause, end_ns, self.context, describe=describe):
                self._span.set_attributes(attributes)
            if describe and cause.outcome is not Outcome.OK:
                # An exception of a provider is on the span of the attempt already, and one that nobody caught on the span of the RPC.
                error = self._error if not self.record.attempts and self._call is None else None
                self.emitter.describe_failure(self._span, cause, error, self.timeline.timestamp(end_ns))
        except BaseException as fault:
            if not self._is_cut_off and not self.record.counted and not isinstance(fault, MemoryError):
                # A signal handler of the host has raised in the middle: the span would be recorded, and its points would be missing.
                self._is_cut_off, self.finished, ends_here = True, False, False
                self._finish(cause, end_ns, interrupted=interrupted, final=final)
            raise
        finally:
            if ends_here:
                # An exception refers to its frames, and they to this request: that circle would stay until the next garbage collection.
                self._error = None
                try:
                    self._span.end(self.timeline.timestamp(end_ns))
                except BaseException:
                    if self._span.is_recording():  # it was cut off before it had ended
                        self._span.end(self.timeline.timestamp(end_ns))
                    raise
                finally:
                    try:
                        if self.within is not None:
                            self.within.ended(self, self.outcome)
                        if self._call is None:
                            # Last: a shutdown waits for it, and would else export before these points and this span are recorded.
                            UNDER_WAY.remove(self)
                    except BaseException:
                        if self._call is None:
                            UNDER_WAY.remove(self)
                        raise

    _is_cut_off = False  # whether an exception of a signal handler has cut its end off

    def _final_cause(self, ended: Cause, *, interrupted: bool) -> Cause:
        cause = final_cause(self.record, ended, self.declared, None if interrupted else self.sources.failure, self._call)
        if cause.outcome is not Outcome.DEADLINE or self._call is None:
            return cause
        in_vain = self._call.has_less_than(self.emitter.settings.deadline_floor)  # then nobody could have met it
        return Cause.from_outcome(Outcome.REJECTED) if in_vain else cause
