"""The state of one request to speak, and the only place where its span starts and its metrics are recorded.

Applications hold it through a :class:`otel_tts.Synthesis`; invocations of providers, cache blocks, streams, the RPC around it and
instrumentations hold it themselves. Every way out comes to :meth:`SynthesisRequest._finish`, once: the end of its block or stream
outside an RPC, the end of the RPC inside one, and the finaliser of a request that was dropped.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Protocol, TypeAlias

from opentelemetry.context import Context, create_key, get_current, set_value
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, set_span_in_context

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.audio import AudioFormat
from otel_tts.core.call import CALL, Call, RpcEnding
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import collecting, defer, run_deferred
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.once import Once
from otel_tts.core.outcome import Cause
from otel_tts.core.privacy import exception_attributes
from otel_tts.core.purpose import NONE, Purpose
from otel_tts.core.purpose import current as current_purpose
from otel_tts.core.record import InvocationResult, Record
from otel_tts.core.texts import Place, here
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import AttemptReason, CacheResult, CancelReason, ErrorType, Outcome

REQUEST = create_key("request")
"""Where a weak reference to the SynthesisRequest stands in the OpenTelemetry context while one of its blocks is running."""
Reference: TypeAlias = "Callable[[], SynthesisRequest | None]"
_BLOCK: ContextVar[Reference | None] = ContextVar("block", default=None)  # the SynthesisRequest whose own block was entered last


_TEXT_WAITS = 1000  # that are kept for a pull of audio to take


class Unfinished(Protocol):
    """An invocation of a provider that is under way, as its request sees it."""

    @property
    def has_block(self) -> bool:
        """Whether a block of the application will end it."""

    def end(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End it; ``now_ns``: when that was, if it is past."""


def begin(
    emitter: Emitter,
    text: str | None,
    voice: str | None,
    language: str | None,
    *,
    stream: bool,
    purpose: Purpose | None = None,
    start_ns: int | None = None,
) -> SynthesisRequest:
    """The request that a piece of code works for: the open one that it stands in, else a new one.

    So a request is counted once, however many layers ask for one. What an inner layer knows more is added. purpose: by default that of
    the current context. start_ns: when it began, if that is past.
    """
    purpose = current_purpose() if purpose is None else purpose
    call, request = _enclosing(get_current())
    if request is not None:
        request.update(text, voice, language, purpose)
        return request
    run_deferred()
    if call is None:
        return SynthesisRequest(emitter, None, text, voice, language, stream=stream, purpose=purpose, start_ns=start_ns)
    with call.turn:  # it may end just now, in another thread
        call = None if call.over else call
        return SynthesisRequest(emitter, call, text, voice, language, stream=stream, purpose=purpose, start_ns=start_ns)


def enclosing() -> SynthesisRequest | None:
    """The open request in which the caller stands, be it in its own block only."""
    return _enclosing(current_context())[1]


@guarded_or(get_current)
def current_context() -> Context:
    """The current context, and in it the request whose own block is running here, to be seen from elsewhere.

    That block is not current in OpenTelemetry's sense: a generator may yield in it, and whatever consumes the generator would find
    itself inside. So engines that are called in the block, and threads that are started there, ask for this.
    """
    context, reference = get_current(), _BLOCK.get()
    request = reference() if reference is not None else None
    if reference is None or request is None or not request.open or REQUEST in context:
        return context
    return set_value(REQUEST, reference, context)


def purpose_here() -> Purpose:
    """What the caller works for: that of the request in which it stands, else that of the current context."""
    request = enclosing()
    return current_purpose() if request is None else request.record.purpose


def _enclosing(context: Context) -> tuple[Call | None, SynthesisRequest | None]:
    """The RPC and the open request that stand in a context."""
    call, request = context.get(CALL), None
    if isinstance(call, Call) and not call.over:
        request = call.current
    else:
        call, reference = None, context.get(REQUEST)
        request = reference() if callable(reference) else None
    return call, request if isinstance(request, SynthesisRequest) and request.open else None


class SynthesisRequest:
    """One request to speak.

    Args:
        emitter: what all requests of its Telemetry share.
        call: the RPC that it is part of, whose end then decides its outcome.
        text: as received; None when it is not known yet.
        voice: as asked for.
        language: as asked for.
        stream: whether audio is delivered in pieces.
        purpose: what it is for.
        start_ns: when it began, if that is past.
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
    ) -> None:
        self.emitter = emitter
        self.turn = call.turn if call is not None else Turn()
        """Of whoever touches it, and everything inside."""
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
        self._call = call
        self._text_in_messages = False  # whether the RPC's own messages tell the text
        self._depth = 0  # blocks and streams under way
        self._blocks: list[int] = []  # the depth of each block
        self._released_ns: int | None = None  # when the application was done with it
        self._declared: Cause | None = None  # by the application
        self._interruption: Cause | None = None  # why it was cut off
        self._failure: Cause | None = None  # of the first failed invocation since the last good one
        self._error: BaseException | None = None
        self._failed_provider: tuple[str, ErrorType | None] | None = None  # whom a fallback would replace, and why
        self._unfinished: list[Unfinished] = []
        self._text_waits: list[tuple[Place, int, int]] = []  # who waited for text, since when and for how long
        self._span = emitter.start_span(
            semconv.SYNTHESIS_SPAN.name,
            SpanKind.INTERNAL,
            self.timeline.timestamp(start_ns),
            self.record.start_attributes(),
        )
        # Weak, here and in the context: an application may keep a context for as long as it likes, and a request that it dropped
        # would never reach its finaliser, so never be counted.
        self._reference: Reference = weakref.ref(self)
        self._outer_block: Reference | None = None
        self.context: Context = set_value(REQUEST, self._reference, set_span_in_context(self._span))
        """The context of whatever happens for this request."""
        emitter.instruments.active.add(1, (self.record.stream,))
        self._end = Once()
        if call is not None:
            call.adopt(self)
        else:
            UNDER_WAY.add(self)

    @property
    def span_context(self) -> SpanContext:
        """Of its span."""
        return self._span.get_span_context()

    @property
    def open(self) -> bool:
        """Whether the application is still at it."""
        return self._released_ns is None

    @property
    def finished(self) -> bool:
        """Whether it has ended, or is just ending."""
        return self._end.done

    # -- blocks and streams of the application ------------------------------------------------------------------------------------

    @in_turn
    def enter_block(self) -> None:
        """A block of its own begins."""
        self._depth += 1
        self._blocks.append(self._depth)
        if len(self._blocks) == 1:
            self._outer_block = _BLOCK.get()
            _BLOCK.set(self._reference)

    @in_turn
    def exit_block(self, error: BaseException | None) -> None:
        """A block of its own ends."""
        if self._blocks.pop() == 1 and error is not None:
            self._depth = 1  # nobody will pull the streams any more that were begun inside
        # A block may be left elsewhere than it was entered: by a generator that the garbage collector or the event loop closes. There
        # nothing can be restored: it would put the block of this request into the context of another.
        if not self._blocks and _BLOCK.get() is self._reference:
            _BLOCK.set(self._outer_block)
        self.release(None, error)

    @guarded
    @in_turn
    def begin_stream(self) -> None:
        """A stream begins whose end :meth:`release` is told. Audio is delivered in pieces, also where the request began otherwise."""
        self._depth += 1
        if not self.record.stream:
            self.record.stream = True
            self._span.set_attribute(semconv.STREAM.key, True)
            self.emitter.instruments.active.add(-1, (False,))
            self.emitter.instruments.active.add(1, (True,))

    # -- what becomes known of it -------------------------------------------------------------------------------------------------

    @in_turn
    def update(self, text: str | None, voice: str | None, language: str | None, purpose: Purpose = NONE) -> None:
        """Add what an inner layer knows and it does not."""
        record = self.record
        record.purpose = record.purpose.update(purpose)
        text = clean.spoken(text)
        if not record.characters and text:
            record.characters = len(text)
            record.text = text if self.emitter.settings.capture_text else None
        record.voice = record.voice or clean.optional_name(voice)
        record.language = record.language or clean.optional_name(language)
        self._span.set_attributes(record.start_attributes())

    @in_turn
    def add_text(self, delta: str) -> None:
        """Add text that arrives in pieces, unless the RPC's messages have told it."""
        if not self._text_in_messages:
            self._extend_text(clean.spoken(delta))

    @in_turn
    def add_message_text(self, delta: str) -> None:
        """Add text as the RPC's own messages have it. Pieces that the application adds are the same once more from now on."""
        self._text_in_messages = True
        self._extend_text(delta)

    def _extend_text(self, delta: str) -> None:
        record = self.record
        if not record.characters and delta:
            record.start_ns = self.timeline.monotonic()
        record.characters += len(delta)
        if self.emitter.settings.capture_text:
            record.text = (record.text or "") + delta

    def text_now(self) -> int:
        """The clock's reading, nanoseconds."""
        return self.timeline.monotonic()

    @in_turn
    def text_piece(self, piece: str, since_ns: int) -> None:
        """A piece of text came, which was waited for since then."""
        first = not self.record.characters
        self.text_waited(since_ns, first=first)
        self.add_text(piece)

    @in_turn
    def text_waited(self, since_ns: int, *, first: bool) -> None:
        """Text was waited for, here, since then; not as a part of the request where it is the first."""
        place = here()
        inner_ns = sum(waited_ns for at, began_ns, waited_ns in self._text_waits if at == place and began_ns >= since_ns)
        waited_ns = max(0, self.timeline.monotonic() - since_ns - inner_ns)  # whatever passes text on may count it too
        self._text_waits = [*self._text_waits[-_TEXT_WAITS:], (place, since_ns, waited_ns)]
        self.record.text_wait_ns = (self.record.text_wait_ns or 0) + (0 if first else waited_ns)

    def take_text_waits(self, since_ns: int) -> int:
        """For how many nanoseconds text was waited for here since then: an engine that is pulled here did nothing meanwhile.

        Text that something else waits for, a task that reads ahead say, keeps no engine from working.
        """
        if not self._text_waits:
            return 0
        place = here()
        mine = [wait for wait in self._text_waits if wait[0] == place]
        self._text_waits = [wait for wait in self._text_waits if wait[0] != place]
        return sum(waited_ns for _, began_ns, waited_ns in mine if began_ns >= since_ns)

    @in_turn
    def flush_text(self) -> None:
        """The engine is given the text so far, to speak it."""
        if self.record.first_segment_ns is None:
            self.record.first_segment_ns = self.timeline.monotonic()

    @in_turn
    def interrupt(self, reason: CancelReason | str, heard_s: float | None = None) -> None:
        """It is cut off. The first time counts; audio that is handed out from now on comes too late.

        heard_s: seconds of audio that the listener heard, where the player says so.

        Raises:
            ValueError: no such reason.
        """
        if heard_s is not None:
            self.record.heard_s = max(0.0, float(clean.number(heard_s)))
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
        """The application says how it fails. The first word counts."""
        if self._declared is None:
            self._declared = cause
            self._error = self._error or error

    @in_turn
    def answer_failed(self, cause: Cause) -> None:
        """The answer itself says that it is none, whatever its status. What is known better already says why."""
        if self._declared is None and self._failure is None:
            self._declared = cause

    @in_turn
    def set_audio(self, seconds: float | None, format: AudioFormat | None) -> None:
        """Audio that is there already has this length and format; None: not known."""
        record = self.record
        if seconds is not None:  # what cannot be read here may be known from the cache
            record.duration_s = float(clean.number(seconds))
        if format is not None:
            record.format, record.sample_rate = format, getattr(format, "sample_rate", None)

    # -- where the audio comes from -----------------------------------------------------------------------------------------------

    @in_turn
    def cache_hit(
        self, tier: str, provider: str | None, model: str | None, duration_s: float | None, format: AudioFormat | None
    ) -> None:
        """A cache tier had the audio."""
        self.serve_from_cache(CacheResult.HIT, provider, model)
        self.record.tier = tier
        self.set_audio(duration_s, format)

    @in_turn
    def cache_miss(self) -> None:
        """A cache tier did not have it."""
        if self.record.cache is CacheResult.BYPASS:
            self.record.cache = CacheResult.MISS

    @in_turn
    def serve_from_cache(self, result: CacheResult, provider: str | None, model: str | None) -> None:
        """No provider is asked for the audio; these made it then, if they are known."""
        provider, model = clean.optional_name(provider), clean.optional_name(model)
        self.record.discard_lookup()
        self.record.cache, self.record.provider, self.record.model = result, provider, model
        self._record_fallback(provider)
        self._failure = self._failed_provider = None

    @in_turn
    def skip_provider(self, provider: str, error_type: ErrorType) -> None:
        """A provider is not asked, because it is of no use now: whoever is asked next is a fallback from it."""
        provider = clean.name(provider)
        self._failed_provider = (provider, error_type)
        if self.record.provider is None:  # a failure names whom it is about
            self.record.provider = provider
        self._add_event(semconv.SKIPPED_EVENT, {semconv.PROVIDER.key: provider, semconv.ERROR_TYPE.key: error_type.value})

    def _add_event(self, event: semconv.Event, attributes: dict[str, str]) -> None:
        if self._span.is_recording():
            self._span.add_event(event.name, attributes, self.timeline.timestamp(self.timeline.monotonic()))

    @in_turn
    def coalesce(self, provider: str | None, model: str | None, leader: SpanContext | None) -> None:
        """The audio comes from an identical request that was under way, whose span ``leader`` is."""
        self.serve_from_cache(CacheResult.COALESCED, provider, model)
        if leader is not None and leader.is_valid and self._span.is_recording():
            self._span.add_link(leader)
        record = self.record
        optional = {semconv.PROVIDER.key: record.provider, semconv.MODEL.key: record.model}
        self._add_event(semconv.COALESCED_EVENT, {key: value for key, value in optional.items() if value is not None})

    def attempt_reason(self, provider: str) -> AttemptReason:
        """Why ``provider`` would be asked now."""
        if self._failed_provider is None:
            return AttemptReason.INITIAL
        return AttemptReason.RETRY if self._failed_provider[0] == provider else AttemptReason.FALLBACK

    @in_turn
    def invocation_began(self, invocation: Unfinished, provider: str, model: str | None, reason: AttemptReason) -> None:
        """A provider is asked."""
        record = self.record
        record.discard_lookup()
        record.provider, record.model = provider, model
        record.fallback = record.fallback or reason == AttemptReason.FALLBACK
        self._record_fallback(provider)
        if not self.finished:
            self._unfinished.append(invocation)
        record.attempts += 1

    @in_turn
    def invocation_ended(self, invocation: Unfinished, result: InvocationResult) -> None:
        """A provider has done what it did."""
        record, cause = self.record, result.cause
        if invocation in self._unfinished:
            self._unfinished.remove(invocation)
        if cause.good:
            self._failure = self._failed_provider = None
        elif cause.outcome is not Outcome.CANCELLED:
            self._failure = self._failure or cause
            self._failed_provider = (result.provider, cause.error_type)
        record.add_invocation(result)
        if result.billable and self.outcome is not None:  # its RPC ended before the engine did; the bill comes all the same
            record.charge(self.emitter, result.provider, result.model)

    def _record_fallback(self, provider: str | None) -> None:
        if self._failed_provider is None or provider is None or self._failed_provider[0] == provider:
            return
        failed, error_type = self._failed_provider
        self._failed_provider = None
        self.record.fallback = True
        bound = self.emitter.provider_labels.bound
        self.emitter.instruments.fallbacks.add(1, (bound(failed), bound(provider), error_type))

    # -- its end ------------------------------------------------------------------------------------------------------------------

    def interruption(self) -> Cause:
        """Why work for this request was cut off."""
        if self._interruption is not None:
            return self._interruption
        return self._call.interruption() if self._call is not None else outcome.CANCELLED

    @guarded
    @in_turn
    def release(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """The application is done with a block or stream; with the outermost one, it is done with the request.

        Inside an RPC it then waits for that to end. ``now_ns``: when that was, if it is past.
        """
        if collecting():
            defer(functools.partial(self.release, cause, error, self.timeline.monotonic() if now_ns is None else now_ns))
            return
        self._depth -= 1
        if self._depth > 0 or self._released_ns is not None:
            return
        self._released_ns = self.timeline.monotonic() if now_ns is None else now_ns
        self._error = self._error or error
        if self._call is None:
            self._finish(cause or self._apparent_cause(), self._released_ns)

    @guarded
    @in_turn
    def settle(self) -> None:
        """Another request follows in the same RPC, so the RPC's end will say nothing of this one."""
        self._finish(self._apparent_cause(), self._released_ns if self._released_ns is not None else self.timeline.monotonic())

    @guarded
    @in_turn
    def close(self, ending: RpcEnding) -> None:
        """The RPC ended."""
        self._error = self._error or ending.error
        if ending.interruption is not None:
            self._finish(ending.interruption, ending.now_ns, interrupted=True, final=ending.final)
        elif ending.cause is not None:
            self._finish(ending.cause, ending.now_ns)
        else:
            self._finish(outcome.from_rpc_status(ending.status, attempted=bool(self.record.attempts)), ending.now_ns)

    ending = False  # only what encloses a request knows that its end is near

    def stop(self) -> None:
        """The process ends."""
        now_ns = self.timeline.monotonic()
        self.turn.leave(lambda: self._stop(now_ns))

    @guarded
    def _stop(self, now_ns: int) -> None:
        if self._released_ns is not None and self._call is None:
            return
        self._finish(outcome.SHUTDOWN, now_ns, interrupted=True, final=True)

    @guarded
    def __del__(self) -> None:
        # A finaliser may run in the middle of anything, an exporter's lock held: it only notes when it was. `_end` is missing when the
        # constructor raised.
        end = getattr(self, "_end", None)
        if end is not None and not end.done:
            now_ns = self.timeline.monotonic()
            defer(lambda: self.turn.leave(lambda: self._finish_dropped(now_ns)))

    @guarded
    def _finish_dropped(self, now_ns: int) -> None:
        self._finish(self.interruption(), now_ns, interrupted=True)

    def _apparent_cause(self) -> Cause:
        return outcome.OK if self._error is None else outcome.from_exception(self._error)

    def _finish(self, cause: Cause, end_ns: int, *, interrupted: bool = False, final: bool = False) -> None:
        """Finish it, once. final: nothing will end by itself any more."""
        if not self._end.claim():
            return
        UNDER_WAY.remove(self)
        self.emitter.instruments.active.add(-1, (self.record.stream,))
        end_ns = max(end_ns, self.record.start_ns)  # text may have come after what seemed to be the end
        try:
            for invocation in [i for i in self._unfinished if final or not i.has_block]:  # a block ends by itself
                invocation.end(None, None, end_ns)
            cause = self._first_cause(cause, interrupted=interrupted)
            self.outcome = cause.outcome
            describe = self._span.is_recording()
            attributes = self.record.emit(self.emitter, cause, end_ns, self.context, describe=describe)
            if describe:
                self._span.set_attributes(attributes)
                self._describe_failure(cause, end_ns)
        finally:
            # No circle of references: an exception keeps its frames, which keep this request and whatever else was in them.
            self._error = None
            self._unfinished = []
            self._span.end(self.timeline.timestamp(end_ns))

    def _first_cause(self, ended: Cause, *, interrupted: bool) -> Cause:
        """What the application said, an interruption, a failed invocation that nothing made good, or else how it ended."""
        cause = ended
        if self._declared is not None:
            cause = self._declared
        elif not interrupted and self._failure is not None:
            cause = self._failure
        if cause.outcome in (Outcome.ERROR, Outcome.EMPTY) and self.record.handed_out:
            return replace(Cause.from_outcome(Outcome.PARTIAL, cause.error_type), cancel_reason=cause.cancel_reason)
        allowance_s = self._call.allowance if self._call is not None else None
        if cause.outcome is Outcome.DEADLINE and allowance_s is not None and allowance_s < self.emitter.settings.deadline_floor:
            return Cause.from_outcome(Outcome.REJECTED)  # nobody could have met it
        return cause

    def _describe_failure(self, cause: Cause, end_ns: int) -> None:
        if cause.outcome not in semconv.FAILURES:
            return
        self._span.set_status(StatusCode.ERROR, str(cause.error_type))
        # An exception that a provider raised stands on its attempt already, one that nobody caught on the RPC.
        if self._error is not None and not self.record.attempts and self._call is None:
            attributes = exception_attributes(self._error, capture_text=self.emitter.settings.capture_text)
            self._span.add_event(semconv.EXCEPTION_EVENT.name, attributes, self.timeline.timestamp(end_ns))
