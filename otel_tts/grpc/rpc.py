"""Rpc: the server's side of one RPC. Its span starts and ends here, and its duration is recorded here, once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, TraceFlags, set_span_in_context

from otel_tts.core import outcome
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guard, guarded
from otel_tts.core.late import late_context
from otel_tts.core.outcome import Cause
from otel_tts.core.purpose import Purpose
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.core.turn import in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.grpc import propagation
from otel_tts.grpc.answer import Answer, sent
from otel_tts.grpc.foreign import is_server_span
from otel_tts.grpc.internals import Internals
from otel_tts.grpc.plan import MethodSpeech, RpcPlan, attributes_at_start, plan_of, speech_of
from otel_tts.grpc.status import OURS

TRACE_RESPONSE = "traceresponse"
"""The key in trailing metadata; its value is version, trace id, span id and flags, as in the draft of W3C Trace Context Level 2."""

_ONLY_GRPCS_OWN = frozenset(("user-agent",))
"""Metadata that no propagator reads: a caller without telemetry sends nothing else, so that extraction can be skipped."""

Metadata = Iterable[tuple[str, str | bytes]]
_EMPTY = Context()
_UNKNOWN = Internals()


class Rpc(Call):
    """One RPC, from the moment its method is looked up until grpc is done with it, whether its handler starts or not.

    Several threads report what happens to it, one at a time by :attr:`turn`. The final status is what the caller got: the status of the
    handler, if it was sent; else the reason why it was not.

    If another instrumentation has created a SERVER span for it, that span is used and corrected: there is never a second one.

    Args:
        emitter: what all requests of its Telemetry share.
        method: the full name of the method, bounded, without the leading slash.
        metadata: the invocation metadata.
        timeline: the clock, started when the RPC arrived.
        internals: its private state in grpc.

    Attributes:
        received: whether it has a request: one was received, or its requests are a stream.
        unencodable: whether its handler has set metadata or details that ``grpc.aio`` cannot encode: then it sends no status.
        unsendable: whether its handler has set metadata that is not legal: then grpc cuts it off in place of sending its status.
    """

    __slots__ = (
        "_answer",
        "_answered_by_grpc",
        "_begun",
        "_earlier_response",
        "_emitter",
        "_foreign",
        "_metadata",
        "_method",
        "_span",
        "_spoke",
        "context",
        "internals",
        "largest_response",
        "received",
        "single_response",
        "trace_response",
        "unencodable",
        "unsendable",
    )

    def __init__(self, emitter: Emitter, method: str, metadata: Metadata, timeline: RequestClock, internals: Internals) -> None:
        super().__init__(timeline)
        self._emitter = emitter
        self._method = method
        self._metadata = metadata
        self.internals = internals
        self._answer: Answer | None = None
        self._begun = self._answered_by_grpc = self._spoke = self.received = self.unsendable = self.unencodable = False
        self.single_response = True
        """Whether the caller gets one response at most. It is not sent with a failure, while each response of a stream is sent at once."""
        self.largest_response = self._earlier_response = -1
        """The size of the largest response since the handler has started, or has failed, in bytes; -1: none was serialized."""
        self.context = _EMPTY
        """The OpenTelemetry context in which the handler runs, once it has started and until the RPC is over."""
        self.trace_response = ""
        """The value of :data:`TRACE_RESPONSE` for the caller; empty if there is no trace."""
        UNDER_WAY.add(self)

    def begin(self) -> Context:
        """Start the span, since the handler starts, in the current context. Return the context in which the handler runs."""
        turn = self.turn
        try:  # as `in_turn` does, in fewer calls
            with turn.lock:
                if self.over:  # its caller left before: what the handler does is still part of its trace
                    return late_context(self._span, self, counted=self._spoke)
                if self._begun:  # another interceptor calls the handler once more
                    return self.context
                context = get_current()
                self._begin(context.get(SPAN_KEY), context)
                return self.context
        except Exception as error:  # noqa: BLE001 - the boundary: the handler runs without a span of its own
            guard.caught("the start of a handler", error)
            return get_current()
        finally:
            if turn.left:
                turn.leave()

    def _begin(self, current: object, parent: Context) -> None:
        timeline = self.timeline
        self.allowance_s = self.internals.remaining_s()
        self._foreign = current is not None and is_server_span(current)
        if self._foreign:
            self._span: Span = current  # type: ignore[assignment]  # it is one, by `is_server_span`
            self._span.update_name(self._method)
        else:
            if parent:  # a span in which the server was started is no parent; baggage of an outer interceptor is kept
                parent = set_span_in_context(INVALID_SPAN, parent)
            if self._metadata:
                carrier = {key: value for key, value in self._metadata if isinstance(value, str)}
                if not _ONLY_GRPCS_OWN.issuperset(carrier):
                    parent = propagation.extract(carrier, parent)
            self._span = self._emitter.start_span(
                self._method, SpanKind.SERVER, timeline.timestamp(timeline.start), attributes_at_start(self._method), parent
            )
        self._begun = True  # not earlier: whoever is told so uses the span, and a signal handler of the host may raise before
        self.context = Context({**parent, SPAN_KEY: self._span, CALL: self})
        trace_id, span_id, _, flags, _, valid = self._span.get_span_context()
        if valid:
            self.trace_response = f"00-{trace_id:032x}-{span_id:016x}-{flags & TraceFlags.SAMPLED:02x}"

    def status(self) -> str | None:
        """Return the name of the status that its handler has set, or with which it aborts it; None without one."""
        return self.internals.code()

    # -- events -------------------------------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether its handler started."""
        return self._begun

    @property
    def has_answer(self) -> bool:
        """Whether its status is known."""
        return self._answer is not None

    @property
    def error(self) -> BaseException | None:
        """The exception that left its handler, if any."""
        return None if self._answer is None else self._answer[1]

    @property
    def failed_without_response(self) -> bool:
        """Whether its handler has set a failure and returned a response that is too large: the status is sent all the same."""
        return self.single_response and self._answer is not None and self._answer[0] != "OK" and self._too_large()

    @property
    def refused(self) -> bool:
        """Whether grpc rejects it because too many RPCs are running."""
        return self.internals.refused

    def answer(self, code: str, error: BaseException | None = None, cause: Cause | None = None, *, by_grpc: bool = False) -> None:
        """Note its status, which is still to be sent.

        Args:
            code: the name of the status code.
            error: the exception that left the handler, if any.
            cause: what that means for a request inside, if the status does not say it.
            by_grpc: whether grpc sets the status in place of the handler; a later one of the handler is then ignored.
        """
        turn = self.turn
        try:
            try:  # as `in_turn` does, in fewer calls
                with turn.lock:
                    has_ended = self.over
                    if not (has_ended or self._answered_by_grpc):
                        self._answered_by_grpc = by_grpc
                        self._answer = (code, error, cause)
                        if code != "OK":
                            self._earlier_response = max(self._earlier_response, self.largest_response)
                            self.largest_response = -1
                        # Its owner ends the span before grpc is done with the RPC.
                        if self._begun and self._foreign and self._span.is_recording():
                            self._describe(plan_of(self._emitter, self._method, code))
            finally:
                if turn.left:
                    turn.leave()
            if has_ended:
                UNDER_WAY.hold()
        except Exception as fault:  # noqa: BLE001 - the boundary: the status is sent all the same
            guard.caught("the status of an RPC", fault)

    def now_ns(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self.timeline.monotonic()

    @guarded
    @in_turn
    def cancelled(self) -> None:
        """Note that its handler is cancelled. The reason counts when grpc is done; a foreign span ends before, so it is read now."""
        if self._begun and self._foreign and not self.over and self._span.is_recording():
            self._describe(plan_of(self._emitter, self._method, self._cut_off()[0]))

    def finish(self, has_status: bool, code: str | None = None, default: str = "UNKNOWN") -> None:
        """End it, since grpc is done with it.

        grpc calls this in a thread that serves all RPCs, so it must not wait for the turn. The caller is guarded.

        Args:
            has_status: whether a status was sent.
            code: the name of the status code that was set in the end, by whom ever; None: none, or unknown.
            default: the name of the status code that grpc sent if no handler was called.
        """
        now = self.timeline.monotonic()
        self.turn.leave(partial(self._finish, has_status, code, default, now))

    def end_without_status(self, code: str) -> None:
        """End it with the status ``code``, which its caller gets in the end although grpc sends none."""
        _, error, cause = self._answer or ("", None, None)
        self._answer, self._answered_by_grpc = (code, error, cause or OURS), True
        self.finish(True)

    @property
    def ending(self) -> bool:
        """Whether it is about to end: its status is known, or its server stops."""
        return self.has_answer or self.internals.stopping()

    def stop(self) -> None:
        """End it, since the process ends. Its caller gets the status, if there is one, else it loses the connection."""
        now = self.timeline.monotonic()
        self.turn.leave(partial(self._stop, now))

    def __del__(self) -> None:
        # `trace_response` is missing when the constructor raised: the time limit of a job, say.
        if not getattr(self, "over", True) and hasattr(self, "trace_response"):
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        # Deferred: a finaliser may run while its thread holds a lock that ending waits for.
        now = self.timeline.monotonic()
        defer(partial(self.turn.leave, partial(self.drop, now)))

    def drop(self, now_ns: int) -> None:
        """End it as its handler did, since grpc did not tell how it ended."""
        self._finish(True, None, "UNKNOWN", now_ns)

    # -- its end ------------------------------------------------------------------------------------------------------------------

    def _finish(self, has_status: bool, code: str | None, default: str, now: int) -> None:
        if self.over:
            return
        try:
            answer = self._answer
            if has_status:
                responded = self.largest_response >= 0
                is_plain = responded and code is None and answer is not None and answer[0] == "OK"
                is_all_that_is_known = code is None and self.internals.context is None
                if answer is None or not (is_plain or self._answered_by_grpc or is_all_that_is_known):
                    answer = sent(answer, code, default, self._begun, responded, self.single_response)
                code, error, cause = answer
                self._end(code, now, error, cause)
                return
            code, cut_off = self._cut_off()
            if answer is not None and answer[2] is not None:
                self._end(code, now, answer[1], answer[2])  # it had failed by itself before
            else:
                self._end(code, now, interruption=cut_off)
        except Exception as fault:  # noqa: BLE001 - the boundary: other work waits for the turn
            guard.caught("the end of an RPC", fault)

    @guarded
    def _stop(self, now: int) -> None:
        if self.over:
            return
        if self._answer is not None:
            code, error, cause = self._answer
            self._end(code, now, error, cause)
        else:
            self._end("UNAVAILABLE", now, interruption=outcome.SHUTDOWN, final=True)

    def _cut_off(self) -> tuple[str, Cause]:
        internals = self.internals
        if internals.request_failed():
            return "RESOURCE_EXHAUSTED", outcome.CANCELLED
        if self._too_large():
            return "RESOURCE_EXHAUSTED", OURS
        if self.unsendable or internals.illegal:
            return "INTERNAL", OURS
        remaining_s = internals.remaining_s()
        elapsed_s = (self.timeline.monotonic() - self.timeline.start) * 1e-9
        if outcome.met_deadline(remaining_s, None if remaining_s is None else elapsed_s + max(remaining_s, 0.0)):
            return "DEADLINE_EXCEEDED", outcome.DEADLINE
        if internals.stopping():
            return "UNAVAILABLE", outcome.SHUTDOWN
        return "CANCELLED", outcome.CANCELLED

    def _too_large(self) -> bool:
        """Return whether a response is larger than the server may send."""
        largest = max(self.largest_response, self._earlier_response)
        limit = self.internals.send_limit() if largest > 0 else None
        return limit is not None and largest > limit

    def _end(
        self, code: str, now: int, error: BaseException | None = None, cause: Cause | None = None, interruption: Cause | None = None,
        final: bool = False,
    ) -> None:  # fmt: skip
        if not self._begun:
            self._begin(None, _EMPTY)
            if interruption is not None or self.refused:  # else its request could not be read, and nobody knows what it asked for
                self._speak()
        context, span, last = self.context, self._span, self._last
        try:
            self.end(code, now, error, cause, interruption, final)
            # Breaks circles, which would stay until the next garbage collection: grpc's objects and the context refer to this one.
            self.internals, self._answer, self._metadata, self.context = _UNKNOWN, None, (), _EMPTY
            timeline, plan = self.timeline, plan_of(self._emitter, self._method, code)
            self._spoke = last is not None
            if last is None:
                plan.silent = True
            elif plan.speech is None:
                plan.speech = MethodSpeech(*last.delivery)
            plan.duration((now - timeline.start) * 1e-9, context)
            if span.is_recording():
                self._describe(plan)
                if error is not None and not self._foreign:
                    self._emitter.add_exception(span, error, timeline.timestamp(now))
            if not self._foreign:
                span.end(timeline.timestamp(now))
        finally:
            UNDER_WAY.remove(self)  # last: a shutdown waits for it, and would else export before this span is recorded

    @guarded
    def _speak(self) -> None:
        """Begin the request to speak that its handler would have begun, if it speaks. Nothing is known of it but how it ends."""
        if (speech := speech_of(self._emitter, self._method)) is not None:
            purpose, emitter = Purpose(speech.kind), self._emitter
            SynthesisRequest(emitter, self, self.turn, None, None, None, speech.stream, purpose, self.context, None, None, False)

    def _describe(self, plan: RpcPlan) -> None:
        if self._foreign:
            self._span.set_attributes(attributes_at_start(self._method))
        if plan.error_type is not None:
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(plan.attributes)
