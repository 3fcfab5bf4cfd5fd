"""The span of an attempt: what it has from its start, and what is added at its end."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_tts import semconv
from otel_tts.core.clock import RequestClock
from otel_tts.core.emitter import Emitter
from otel_tts.core.record import Record
from otel_tts.core.result import InvocationResult
from otel_tts.semconv import AttemptReason, Outcome


def start(
    emitter: Emitter, timestamp_ns: int, provider: str, model: str | None, label: str, reason: AttemptReason, record: Record | None,
    parent: Context, *, remote: bool,
) -> Span:  # fmt: skip
    """Start the span of a call of a provider.

    Args:
        emitter: what all requests of its Telemetry share.
        timestamp_ns: when the call started, in nanoseconds since the epoch.
        provider: the provider.
        model: with which model; None: unknown.
        label: the bounded label of the model.
        reason: why it is called.
        record: of the request; None for a probe.
        parent: the context of the request.
        remote: whether the provider runs elsewhere (span kind CLIENT).
    """
    attributes: dict[str, str | bool] = {
        semconv.OPERATION_NAME.key: "text_to_speech",
        semconv.OUTPUT_TYPE.key: "speech",
        semconv.PROVIDER.key: provider,
        semconv.ATTEMPT_REASON.key: reason.value,
    }
    name = semconv.ATTEMPT_SPAN.name.partition(" ")[0]
    if model:
        attributes[semconv.MODEL.key] = model
        name = f"{name} {label}"
    if record is not None:
        attributes[semconv.STREAM.key] = record.stream
        if record.purpose.conversation:
            attributes[semconv.CONVERSATION.key] = record.purpose.conversation
    return emitter.start_span(name, SpanKind.CLIENT if remote else SpanKind.INTERNAL, timestamp_ns, attributes, parent)


def describe(
    span: Span, emitter: Emitter, timeline: RequestClock, result: InvocationResult, record: Record | None,
    error: BaseException | None, *, chunks: int, first_byte_ns: int | None, end_ns: int,
) -> None:  # fmt: skip
    """Add what is known at the end of the call.

    Args:
        span: of the call.
        emitter: what all requests of its Telemetry share.
        timeline: the clock of the request.
        result: of the call.
        record: of the request; None for a probe.
        error: what ended the call; None without an exception.
        chunks: how many pieces of audio came.
        first_byte_ns: when the first of them came, in nanoseconds; None: none did.
        end_ns: when the call ended, in nanoseconds.
    """
    if not span.is_recording():
        return
    span.set_attributes(result.attributes(chunks))
    if first_byte_ns is not None:
        span.add_event(semconv.FIRST_BYTE_EVENT.name, None, timeline.timestamp(first_byte_ns))
        playback = record.playback if record is not None else None
        first_audio_ns = playback.first_audio() if playback and playback.first_byte_ns == first_byte_ns else None
        if first_audio_ns is not None:
            span.add_event(semconv.FIRST_AUDIO_EVENT.name, None, timeline.timestamp(first_audio_ns))
    cause = result.cause
    if error is not None and cause.outcome not in (Outcome.CANCELLED, Outcome.DEADLINE):
        emitter.add_exception(span, error, timeline.timestamp(end_ns))
    if cause.outcome in semconv.FAILURES:
        span.set_status(StatusCode.ERROR, str(cause.error_type))
