"""Rpc: the server's side of one RPC. Its span starts and ends here, its metric is recorded here, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from opentelemetry import propagate
from opentelemetry.context import Context, get_current, set_value
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, TraceFlags, get_current_span, set_span_in_context

from otel_tts import semconv
from otel_tts.core import outcome
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import Timeline
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.privacy import exception_attributes

TRACE_RESPONSE = "traceresponse"
"""The key in trailing metadata; its value is version, trace id, span id and flags, as W3C Trace Context Level 2 drafts it."""

Metadata = Iterable[tuple[str, str | bytes]]


class Rpc:
    """One RPC from its arrival.

    If another instrumentation has made a SERVER span for it, that span is used and put right: there is never a second one.
    """

    __slots__ = ("_call", "_emitter", "_foreign", "_method", "_over", "_span", "context", "trace_response")

    def __init__(
        self, emitter: Emitter, method: str, metadata: Metadata, timeline: Timeline, remaining: Callable[[], float | None]
    ) -> None:
        """``method``: the bounded, fully qualified method. ``remaining``: seconds to the caller's deadline, None without one."""
        self._emitter = emitter
        self._method = method
        self._over = Lock()  # taken by whoever ends it, never released
        self._call = Call(timeline, remaining)
        current, parent = get_current_span(), get_current()
        self._foreign = _is_server_span(current)
        if self._foreign:
            self._span = current
            current.update_name(method)
        else:
            if parent:  # of a server that was started inside a span, or baggage of an interceptor further out
                parent = set_span_in_context(INVALID_SPAN, parent)
            parent = propagate.extract({key: value for key, value in metadata if isinstance(value, str)}, parent)
            self._span = emitter.start_span(
                method,
                SpanKind.SERVER,
                timeline.timestamp(timeline.start),
                {semconv.RPC_SYSTEM_NAME.key: "grpc", semconv.RPC_METHOD.key: method},
                parent,
            )
        self.context: Context = set_value(CALL, self._call, set_span_in_context(self._span, parent))
        """The context in which the handler works."""
        span = self._span.get_span_context()
        sampled = span.trace_flags & TraceFlags.SAMPLED
        self.trace_response = f"00-{span.trace_id:032x}-{span.span_id:016x}-{sampled:02x}" if span.is_valid else ""
        """The trace id for the caller; empty when there is none."""

    @guarded
    def interrupted(self) -> None:
        """It was cut off: by its deadline, or because the caller went away."""
        cause = self._call.interruption()
        self.end("DEADLINE_EXCEEDED" if cause is outcome.DEADLINE else "CANCELLED", interruption=cause)

    @guarded
    def end(self, code: str, *, error: BaseException | None = None, interruption: Cause | None = None) -> None:
        """End it with the status ``code``, once; whatever comes later is not true any more. ``error``: nobody caught it."""
        if not self._over.acquire(blocking=False):
            return
        timeline = self._call.timeline
        self._call.end(code, interruption=interruption, error=error)
        end = timeline.monotonic()
        server_error = code in semconv.GRPC_SERVER_ERRORS or (code == "CANCELLED" and self._emitter.settings.cancelled_is_error)
        error_type = code if server_error else None
        self._emitter.instruments.rpc_duration.record(
            (end - timeline.start) * 1e-9, ("grpc", self._method, code, error_type), self.context
        )
        span = self._span
        if span.is_recording():
            attributes = {semconv.RPC_RESPONSE_STATUS_CODE.key: code}
            if self._foreign:
                attributes |= {semconv.RPC_SYSTEM_NAME.key: "grpc", semconv.RPC_METHOD.key: self._method}
            if error_type is not None:
                attributes[semconv.ERROR_TYPE.key] = error_type
                span.set_status(StatusCode.ERROR)
            span.set_attributes(attributes)
            if error is not None and not self._foreign:
                described = exception_attributes(error, capture_text=self._emitter.settings.capture_text)
                span.add_event(semconv.EXCEPTION_EVENT.name, described, timeline.timestamp(end))
        if not self._foreign:
            span.end(timeline.timestamp(end))


def _is_server_span(span: Span) -> bool:
    """Whether this is another instrumentation's SERVER span of a gRPC call. Only spans of an SDK can tell."""
    attributes = getattr(span, "attributes", None)
    return (
        span.is_recording()
        and getattr(span, "kind", None) is SpanKind.SERVER
        and isinstance(attributes, Mapping)
        and "grpc" in (attributes.get("rpc.system"), attributes.get(semconv.RPC_SYSTEM_NAME.key))
    )
