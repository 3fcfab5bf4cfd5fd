"""The provider of the direct path: its tracer for otel-tts makes compact spans, those for everybody else the SDK's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, DEFAULT_OFF, DEFAULT_ON, Decision, ParentBasedTraceIdRatio
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
)
from opentelemetry.util.types import Attributes

from otel_tts import semconv
from otel_tts.sdk.direct.span import SPAN_KEY, Span, Unrecorded

_logger = logging.getLogger(__name__)

_STOPPING_S = 10.0
"""How long the end waits for a receiver, where nobody says otherwise."""
_NONE, _SAMPLED = TraceFlags(TraceFlags.DEFAULT), TraceFlags(TraceFlags.SAMPLED)
_RANDOM = TraceFlags(TraceFlags.RANDOM_TRACE_ID)
_SAMPLED_RANDOM = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)


class Sink(Protocol):
    """Where finished spans go."""

    def take(self, span: Span | ReadableSpan) -> None:
        """A span ended. Never raises, never waits."""

    def flush(self, timeout_s: float) -> bool:
        """Have all of them exported; whether that was done in time."""

    def close(self, timeout_s: float) -> None:
        """Export what there is and stop."""


class Processor(SpanProcessor):
    """Takes the SDK's own spans, of other tracers than ours, to the same sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def on_end(self, span: ReadableSpan) -> None:
        """Export a span, if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._sink.take(span)

    def shutdown(self) -> None:
        """Export what there is and stop."""
        self._sink.close(_STOPPING_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what there is."""
        return self._sink.flush(timeout_millis / 1e3)


class TracerProvider(SDKTracerProvider):
    """The SDK's provider with a sink of ours. A span processor that the host adds takes all spans to the SDK's path again.

    Args:
        sink: where finished spans go.
        resource: of whom they tell.
    """

    def __init__(self, sink: Sink, resource: Resource) -> None:
        self.foreign: tuple[SpanProcessor, ...] = ()
        """What the host has added."""
        self.limits = SpanLimits()
        super().__init__(resource=resource, shutdown_on_exit=False, span_limits=self.limits)
        self.sink = sink
        self._direct: dict[InstrumentationScope, Tracer] = {}
        self._processor = Processor(sink)
        super().add_span_processor(self._processor)

    @property
    def is_direct(self) -> bool:
        """Whether spans of ours take the direct path."""
        return not self.foreign

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor of the host's. It is to see what every processor sees, so spans are the SDK's from now on."""
        if self.is_direct:
            _logger.info("Spans take the SDK's path from now on: %s was added.", type(span_processor).__name__)
        self.foreign += (span_processor,)
        super().add_span_processor(span_processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """The tracer of a library: ours for otel-tts, the SDK's for any other."""
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if instrumenting_module_name != semconv.SCOPE:
            return tracer
        scope = InstrumentationScope(instrumenting_module_name, instrumenting_library_version or "", schema_url, attributes)
        return self._direct.setdefault(scope, Tracer(self, tracer, scope))

    def late(self, span: Span) -> None:
        """A span of the direct path ended after the host had added a processor: that one gets it too."""
        readable = span.readable()
        for processor in self.foreign:
            processor.on_end(readable)


class Tracer(trace.Tracer):
    """Starts spans of the direct path as long as that stands, else the SDK's."""

    def __init__(self, provider: TracerProvider, sdk: trace.Tracer, scope: InstrumentationScope) -> None:
        self.provider = provider
        self.instrumentation_scope = scope
        self.limits = limits = provider.limits
        self.plain_attributes = (
            -1  # where long values are cut, the SDK's attributes do it
            if limits.max_span_attribute_length is not None
            else 2**31
            if limits.max_span_attributes is None
            else limits.max_span_attributes
        )
        """The most attributes that are kept in a plain dict."""
        self._sdk = sdk
        self._sampler = provider.sampler
        # What the SDK's own samplers decide is known without asking them, which takes ten calls a span.
        self._follows_parent = provider.sampler in (DEFAULT_ON, DEFAULT_OFF) or type(provider.sampler) is ParentBasedTraceIdRatio
        self._decided = {DEFAULT_ON: True, ALWAYS_ON: True, DEFAULT_OFF: False, ALWAYS_OFF: False}.get(provider.sampler)
        """Of spans that follow no parent; None: the sampler says."""
        self._ids = provider.id_generator
        self._random = self._ids.is_trace_id_random()
        self._take: Callable[[Any], None] = provider.sink.take

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span; see `opentelemetry.trace.Tracer.start_span`."""
        if self.provider.foreign:
            return self._sdk.start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        current: Any = (context if context is not None else get_current()).get(SPAN_KEY)
        ours = type(current) is Span or type(current) is Unrecorded
        parent: SpanContext | None = current._context if ours else get_current_span(context).get_span_context()  # noqa: SLF001 - a method is a call
        trace_state: TraceState | None
        trace_id, _, _, parent_flags, trace_state, valid = parent or INVALID_SPAN_CONTEXT
        random = parent_flags & TraceFlags.RANDOM_TRACE_ID
        if not valid:
            parent, trace_id, random, trace_state = None, self._ids.generate_trace_id(), self._random, None
        if parent is not None and self._follows_parent:
            recording = sampled = bool(parent_flags & TraceFlags.SAMPLED)
        elif self._decided is not None:
            recording = sampled = self._decided
        else:
            result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
            recording = result.decision is not Decision.DROP
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            attributes, trace_state = result.attributes, result.trace_state
        flags = (_SAMPLED_RANDOM if random else _SAMPLED) if sampled else _RANDOM if random else _NONE
        own = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, trace_state)
        if not recording:
            return Unrecorded(own)
        return Span(self, name, own, parent, kind, attributes, links, start_time, record_exception, set_status_on_exception)

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # the API's own kind of context manager has no public name
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """Start a span that is current in the block; see `opentelemetry.trace.Tracer.start_as_current_span`."""
        span = self.start_span(name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span

    @property
    def resource(self) -> Resource:
        """Of whom its spans tell."""
        return self.provider.resource

    def ended(self, span: Span) -> None:
        """A span of this tracer ended."""
        if span.sampled:
            self._take(span)
        if self.provider.foreign:
            self.provider.late(span)
