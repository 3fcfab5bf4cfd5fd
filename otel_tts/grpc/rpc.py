"""Rpc: the server's side of one RPC. Its span starts and ends here, its metric is recorded here, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from opentelemetry import propagate
from opentelemetry.context import Context, get_current, set_value
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, TraceFlags, get_current_span, set_span_in_context

from otel_tts import semconv
from otel_tts.core import outcome
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import defer
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.privacy import exception_attributes
from otel_tts.core.turn import Turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.grpc.internals import Internals
from otel_tts.semconv import ErrorType, Outcome

TRACE_RESPONSE = "traceresponse"
"""The key in trailing metadata; its value is version, trace id, span id and flags, as W3C Trace Context Level 2 drafts it."""

_ONLY_GRPCS_OWN = frozenset(("user-agent",))
"""Metadata in which no propagator finds a thing: a caller without telemetry sends nothing else."""

Metadata = Iterable[tuple[str, str | bytes]]
_TOO_LARGE = Cause(Outcome.ERROR, ErrorType.OTHER)


class Rpc:
    """One RPC, from the moment its method is looked up until grpc is done with it, whether its handler ever begins or not.

    Several threads tell what happens to it: :attr:`turn` sees to it that one does at a time. What counts in the end is what the
    caller saw: the status that was given, if it was sent; else why it was not.

    If another instrumentation has made a SERVER span for it, that span is used and put right: there is never a second one.
    """

    __slots__ = (
        "__weakref__",
        "_answer",
        "_answered_by_grpc",
        "_begun",
        "_call",
        "_emitter",
        "_ended",
        "_foreign",
        "_metadata",
        "_method",
        "_span",
        "_timeline",
        "context",
        "internals",
        "largest_response",
        "request_failed",
        "response_failed",
        "trace_response",
        "turn",
    )

    def __init__(self, emitter: Emitter, method: str, metadata: Metadata, timeline: RequestClock, internals: Internals) -> None:
        """``method``: the bounded, fully qualified method."""
        self._emitter = emitter
        self._method = method
        self._metadata = metadata
        self._timeline = timeline
        self.internals = internals
        self._answer: tuple[str, BaseException | None, Cause | None] | None = None
        self._begun = self._ended = self._answered_by_grpc = False
        self.turn = Turn()
        self.request_failed = self.response_failed = False
        self.largest_response = 0
        """Bytes."""
        self.context = Context()
        """The context in which the handler works, once it has begun."""
        self.trace_response = ""
        """The trace id for the caller; empty when there is none."""
        UNDER_WAY.add(self)

    def begin(self) -> None:
        """Its handler begins, in the current context."""
        with self.turn:
            if not self._ended:
                self._begin(get_current_span(), get_current())

    def _begin(self, current: Span, parent: Context) -> None:
        timeline = self._timeline
        self._begun = True
        self._call = Call(timeline, self.internals.remaining, lambda: self._cut_off()[1], self.turn)
        self._foreign = _is_server_span(current)
        if self._foreign:
            self._span = current
            current.update_name(self._method)
        else:
            if parent:  # of a server that was started inside a span, or baggage of an interceptor further out
                parent = set_span_in_context(INVALID_SPAN, parent)
            carrier = {key: value for key, value in self._metadata if isinstance(value, str)}
            if not _ONLY_GRPCS_OWN.issuperset(carrier):
                parent = propagate.extract(carrier, parent)
            self._span = self._emitter.start_span(
                self._method,
                SpanKind.SERVER,
                timeline.timestamp(timeline.start),
                {semconv.RPC_SYSTEM_NAME.key: "grpc", semconv.RPC_METHOD.key: self._method},
                parent,
            )
        self.context = set_value(CALL, self._call, set_span_in_context(self._span, parent))
        span = self._span.get_span_context()
        sampled = span.trace_flags & TraceFlags.SAMPLED
        if span.is_valid:
            self.trace_response = f"00-{span.trace_id:032x}-{span.span_id:016x}-{sampled:02x}"

    # -- what happens to it -------------------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether its handler began."""
        return self._begun

    @property
    def answered(self) -> bool:
        """Whether it is known with which status it was answered."""
        return self._answer is not None

    @property
    def error(self) -> BaseException | None:
        """What left its handler, if anything did."""
        return None if self._answer is None else self._answer[1]

    @property
    def refused(self) -> bool:
        """Whether grpc refuses it because too many RPCs are under way."""
        return self.internals.refused

    def lose_request(self) -> None:
        """A request could not be received, so that grpc answers by itself."""
        self.request_failed = True

    def lose_response(self) -> None:
        """A status or response was given to grpc, and could not be sent."""
        self.response_failed = True

    @guarded
    def answer(self, code: str, error: BaseException | None = None, cause: Cause | None = None, *, by_grpc: bool = False) -> None:
        """It is answered with the status ``code``, which is yet to be sent.

        error: what left the handler, if anything did. cause: what that means for a request inside, where the status does not tell.
        by_grpc: whether grpc answers instead of the handler, whatever that says then.
        """
        with self.turn:
            if self._ended or self._answered_by_grpc:
                return
            self._answered_by_grpc = by_grpc
            self._answer = (code, error, cause)
            if self._begun and self._foreign:  # whose owner ends it before grpc is done with the RPC
                self._describe(code)

    def now_ns(self) -> int:
        """The clock's reading."""
        return self._timeline.monotonic()

    def message_came(self, since_ns: int) -> None:
        """Its handler received a message of many, which it waited for since then."""
        self._call.message_came(since_ns)

    def messages_ended(self, since_ns: int) -> None:
        """Its handler received the end of the messages, which it waited for since then."""
        self._call.messages_ended(since_ns)

    @guarded
    def cancelled(self) -> None:
        """Its handler is cancelled. Why counts when grpc is done with it; the owner of a foreign span ends that before."""
        with self.turn:
            if self._begun and self._foreign and not self._ended:
                self._describe(self._cut_off()[0])

    @guarded
    def over(self, *, sent: bool, code: str = "UNKNOWN") -> None:
        """Grpc is done with it. sent: whether a status was sent: the one of :meth:`answer`, else ``code``."""
        now = self._timeline.monotonic()
        self.turn.leave(partial(self._over, sent, code, now))

    def abandon(self, code: str) -> None:
        """Grpc will answer nothing, so that its caller will see ``code`` in the end."""
        if self._answer is not None:
            self._answer = (code, *self._answer[1:])
        self.over(sent=True)

    @property
    def ending(self) -> bool:
        """Whether its end is near: it was answered, or its server stops."""
        return self.answered or self.internals.stopping()

    def stop(self) -> None:
        """The process ends: its caller sees the answer, if there is one, else that the connection is lost."""
        now = self._timeline.monotonic()
        self.turn.leave(partial(self._stop, now))

    @guarded
    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            now = self._timeline.monotonic()
            defer(partial(self._over, True, "UNKNOWN", now))

    # -- its end ------------------------------------------------------------------------------------------------------------------

    @guarded
    def _over(self, sent: bool, code: str, now: int) -> None:
        if self._ended:
            return
        answered = self._answer
        if sent:
            code, error, cause = answered or (code, None, None)
            self._end(code, now, error=error, cause=cause)
            return
        code, cut_off = self._cut_off()
        if answered is not None and answered[2] is not None:
            self._end(code, now, error=answered[1], cause=answered[2])  # it had failed by itself before
        else:
            self._end(code, now, interruption=cut_off)

    @guarded
    def _stop(self, now: int) -> None:
        if self._ended:
            return
        if self._answer is not None:
            self._over(True, "UNKNOWN", now)
        else:
            self._end("UNAVAILABLE", now, interruption=outcome.SHUTDOWN, final=True)

    def _cut_off(self) -> tuple[str, Cause]:
        """The status that the caller saw of an RPC that was answered with none, and what it means for a request inside."""
        internals = self.internals
        if self.request_failed:
            return "RESOURCE_EXHAUSTED", outcome.CANCELLED
        limit = internals.send_limit() if self.largest_response else None
        if limit is not None and self.largest_response > limit:
            return "RESOURCE_EXHAUSTED", _TOO_LARGE
        if outcome.met_deadline(internals.remaining()):
            return "DEADLINE_EXCEEDED", outcome.DEADLINE
        if internals.stopping():
            return "UNAVAILABLE", outcome.SHUTDOWN
        return "CANCELLED", outcome.CANCELLED

    def _end(
        self, code: str, now: int, *, error: BaseException | None = None, cause: Cause | None = None, interruption: Cause | None = None,
        final: bool = False,
    ) -> None:  # fmt: skip
        if not self._begun:
            self._begin(INVALID_SPAN, Context())
        self._ended = True
        try:
            self._record_end(code, now, error, cause, interruption, final=final)
        finally:
            UNDER_WAY.remove(self)  # not before: a shutdown waits for what another thread is ending

    def _record_end(
        self, code: str, now: int, error: BaseException | None, cause: Cause | None, interruption: Cause | None, *, final: bool
    ) -> None:
        timeline = self._timeline
        self._call.end(code, now_ns=now, error=error, cause=cause, interruption=interruption, final=final)
        self.internals, self._answer, self._metadata = (
            Internals(),
            None,
            (),
        )  # no circle of references: grpc's objects know this one
        self._emitter.instruments.rpc_duration.record(
            (now - timeline.start) * 1e-9, ("grpc", self._method, code, self._error_type(code)), self.context
        )
        self._describe(code)
        if self._foreign:
            return
        if error is not None and self._span.is_recording():
            described = exception_attributes(error, capture_text=self._emitter.settings.capture_text)
            self._span.add_event(semconv.EXCEPTION_EVENT.name, described, timeline.timestamp(now))
        self._span.end(timeline.timestamp(now))

    def _error_type(self, code: str) -> str | None:
        server_error = code in semconv.GRPC_SERVER_ERRORS or (code == "CANCELLED" and self._emitter.settings.cancelled_is_error)
        return code if server_error else None

    def _describe(self, code: str) -> None:
        if not self._span.is_recording():
            return
        attributes = {semconv.RPC_RESPONSE_STATUS_CODE.key: code}
        if self._foreign:
            attributes |= {semconv.RPC_SYSTEM_NAME.key: "grpc", semconv.RPC_METHOD.key: self._method}
        error_type = self._error_type(code)
        if error_type is not None:
            attributes[semconv.ERROR_TYPE.key] = error_type
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(attributes)


def _is_server_span(span: Span) -> bool:
    """Whether this is another instrumentation's SERVER span of a gRPC call. Only spans of an SDK can tell."""
    attributes = getattr(span, "attributes", None)
    return (
        span.is_recording()
        and getattr(span, "kind", None) is SpanKind.SERVER
        and isinstance(attributes, Mapping)
        and "grpc" in (attributes.get("rpc.system"), attributes.get(semconv.RPC_SYSTEM_NAME.key))
    )
