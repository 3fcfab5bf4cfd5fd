"""The capture kit on the direct path: what tests see is read back from the bytes that would be sent."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_tts.sdk.direct import sinks
from otel_tts.sdk.direct.meter import Cells, MeterProvider
from otel_tts.sdk.direct.span import Span
from otel_tts.sdk.direct.tracer import TracerProvider
from otel_tts.testing.capture import Capture, SessionProviders

_KINDS = (SpanKind.INTERNAL, SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER)
_IS_REMOTE = 0x200


class CellReader(InMemoryMetricReader):
    """A reader in memory that looks into cells."""

    def __init__(self) -> None:
        super().__init__()
        self.histogram_temporality = AggregationTemporality.CUMULATIVE
        self.cells: Cells | None = None

    def get_metrics_data(self) -> MetricsData | None:
        data = super().get_metrics_data()
        return data if self.cells is None else self.cells.merge(self, data)


class DecodingSink:
    """Encodes each span as it is sent, and hands on what a receiver makes of the bytes."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def take(self, span: Span | ReadableSpan) -> None:
        self._exporter.export(decoded(sinks.request([sinks.encode(span)])))

    def flush(self, timeout_s: float) -> bool:
        return True

    def close(self, timeout_s: float) -> None: ...


class DirectCapture(Capture):
    """What was emitted over the direct path."""

    def __init__(self, providers: SessionProviders) -> None:
        super().__init__(providers)
        self._tracer_provider.shutdown()
        self._meter_provider.shutdown()
        self._spans = InMemorySpanExporter()
        resource = Resource.create()
        self._own_reader = CellReader()
        self._tracer_provider = TracerProvider(DecodingSink(self._spans), resource)
        self._meter_provider = MeterProvider([self._own_reader], resource)


def decoded(request: bytes) -> list[ReadableSpan]:
    """The spans of an export request."""
    return [
        _span(span, Resource(_attributes(resource.resource.attributes), resource.schema_url), _scope(scope))
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _scope(scope: Any) -> InstrumentationScope:
    return InstrumentationScope(scope.scope.name, scope.scope.version, scope.schema_url, _attributes(scope.scope.attributes))


def _span(span: Any, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    state = TraceState([tuple(entry.split("=", 1)) for entry in span.trace_state.split(",")] if span.trace_state else [])
    parent = _context(span.trace_id, span.parent_span_id, remote=bool(span.flags & _IS_REMOTE)) if span.parent_span_id else None
    return ReadableSpan(
        span.name,
        _context(span.trace_id, span.span_id, remote=False, state=state),
        parent,
        resource,
        _attributes(span.attributes),
        [Event(event.name, _attributes(event.attributes), event.time_unix_nano) for event in span.events],
        [
            Link(_context(link.trace_id, link.span_id, remote=bool(link.flags & _IS_REMOTE)), _attributes(link.attributes))
            for link in span.links
        ],
        _KINDS[span.kind],
        status=Status(StatusCode(span.status.code), span.status.message or None),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(trace_id: bytes, span_id: bytes, *, remote: bool, state: TraceState | None = None) -> SpanContext:
    # The bytes say nothing of flags; what is sent is sampled.
    return SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), remote, TraceFlags(TraceFlags.SAMPLED), state
    )


def _attributes(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
