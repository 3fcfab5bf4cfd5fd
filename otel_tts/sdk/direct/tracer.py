"""The tracer provider of the direct path: its tracer for otel-tts creates compact spans, all other tracers the SDK's."""

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
    DEFAULT_TRACE_STATE,
    INVALID_SPAN_CONTEXT,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
)
from opentelemetry.util.types import Attributes

from otel_tts import semconv
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.sdk.direct.span import Span, Unrecorded

_logger = logging.getLogger(__name__)

_STOPPING_S = 10.0
"""How long a shutdown waits for a receiver, unless a time limit is given."""
_FLAGS = [TraceFlags(flags) for flags in range(4)]
_TRACE_IDS, _SPAN_IDS = 1 << 128, 1 << 64
_tuple: Callable[[type[SpanContext], tuple[Any, ...]], SpanContext] = tuple.__new__  # as in the constructor, without its call


class Sink(Protocol):
    """The destination of finished spans."""

    def take(self, span: Span | ReadableSpan) -> None:
        """Take a span that ended. It never raises and never waits: the caller may be a finaliser or a signal handler.

        Args:
            span: a finished span.
        """

    def flush(self, timeout_s: float) -> bool:
        """Export all spans, and return whether that was done in time.

        Args:
            timeout_s: the time limit, in seconds.
        """

    def close(self, timeout_s: float) -> None:
        """Export all spans, and stop.

        Args:
            timeout_s: the time limit, in seconds.
        """


class Processor(SpanProcessor):
    """Processor that passes the SDK's own spans, of other tracers than ours, to the same sink.

    Args:
        sink: takes finished spans.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def on_end(self, span: ReadableSpan) -> None:
        """Export a span, if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._sink.take(span)

    def shutdown(self) -> None:
        """Export all spans, and stop."""
        self._sink.close(_STOPPING_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export all spans."""
        return self._sink.flush(timeout_millis / 1e3)


class TracerProvider(SDKTracerProvider):
    """The SDK's provider with a sink of ours. When the host adds a span processor, all new spans take the SDK's path.

    Args:
        sink: the destination of finished spans.
        resource: the resource of all spans.
    """

    def __init__(self, sink: Sink, resource: Resource) -> None:
        self.foreign: tuple[SpanProcessor, ...] = ()
        """The span processors that the host has added."""
        self.limits = SpanLimits()
        super().__init__(resource=resource, shutdown_on_exit=False, span_limits=self.limits)
        self.sink = sink
        self._direct: dict[InstrumentationScope, Tracer] = {}
        self._processor = Processor(sink)
        super().add_span_processor(self._processor)

    @property
    def is_direct(self) -> bool:
        """Whether our spans take the direct path."""
        return not self.foreign

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor of the host. It expects the SDK's spans, so new spans are those from now on."""
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
        """Return the tracer of a library: ours for otel-tts, the SDK's for any other."""
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if instrumenting_module_name != semconv.SCOPE:
            return tracer
        scope = InstrumentationScope(instrumenting_module_name, instrumenting_library_version or "", schema_url, attributes)
        return self._direct.setdefault(scope, Tracer(self, tracer, scope))

    def late(self, span: Span) -> None:
        """Pass a span of the direct path to the host's processors, which were added after it had started.

        Args:
            span: the span.
        """
        readable = span.readable()
        for processor in self.foreign:
            processor.on_end(readable)


class Tracer(trace.Tracer):
    """Tracer that starts spans of the direct path, or the SDK's spans once the host has added a processor.

    Args:
        provider: of the tracer.
        sdk: the SDK's tracer, whose sampler and ids are used.
        scope: that makes the spans.
    """

    def __init__(self, provider: TracerProvider, sdk: trace.Tracer, scope: InstrumentationScope) -> None:
        self.provider = provider
        self.instrumentation_scope = scope
        self.limits = limits = provider.limits
        self.plain_attributes = (
            -1  # with a length limit, the SDK's class cuts long values
            if limits.max_span_attribute_length is not None
            else 2**31
            if limits.max_span_attributes is None
            else limits.max_span_attributes
        )
        """The most attributes that are kept in a plain dict."""
        self._sdk = sdk
        self._sampler = provider.sampler
        # The decision of the SDK's own samplers is known without calling them, which would take ten calls per span.
        self._follows_parent = provider.sampler in (DEFAULT_ON, DEFAULT_OFF) or type(provider.sampler) is ParentBasedTraceIdRatio
        self._decided = {DEFAULT_ON: True, ALWAYS_ON: True, DEFAULT_OFF: False, ALWAYS_OFF: False}.get(provider.sampler)
        """The decision for spans that do not follow a parent; None: the sampler decides."""
        self._drops_with_parent = self._follows_parent or self._decided is False
        self._new_trace_id, self._new_span_id = provider.id_generator.generate_trace_id, provider.id_generator.generate_span_id
        self._random = provider.id_generator.is_trace_id_random()
        self._root_flags = _flags(bool(self._decided), self._random)
        self.take: Callable[[Any], None] = provider.sink.take
        """Takes a sampled span that has ended."""

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
        parent: SpanContext | None = None
        own: SpanContext | None = None
        if current is None:
            if self._decided is not None:
                sampled = recording = self._decided
                trace_id, span_id = self._new_trace_id(), self._new_span_id()
                valid = 0 < trace_id < _TRACE_IDS and 0 < span_id < _SPAN_IDS
                own = _tuple(SpanContext, (trace_id, span_id, False, self._root_flags, DEFAULT_TRACE_STATE, valid))
        elif type(current) is Span:
            parent = current._context  # noqa: SLF001 - a method is a call
            if self._follows_parent and current.sampled and parent[5]:  # the parent is valid
                sampled = recording = True
                span_id = self._new_span_id()
                own = _tuple(SpanContext, (parent[0], span_id, False, parent[3], parent[4], 0 < span_id < _SPAN_IDS))
        elif type(current) is Unrecorded:
            parent = current.get_span_context()
            if self._drops_with_parent:
                return Unrecorded(parent, self._new_span_id)
        else:
            parent = get_current_span(context).get_span_context()
        if own is None:
            own, parent, attributes, recording, sampled = self._decide(name, context, kind, attributes, links, parent)
        if not recording:
            return Unrecorded(own)
        return Span(
            self, name, own, parent, kind, attributes, links, start_time, record_exception, set_status_on_exception, sampled
        )

    def _decide(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[trace.Link] | None,
        parent: SpanContext | None,
    ) -> tuple[SpanContext, SpanContext | None, Attributes, bool, bool]:
        """Return the context of a span, its parent, its attributes, and whether it is recorded and exported."""
        trace_state: TraceState | None
        trace_id, _, _, parent_flags, trace_state, valid = parent or INVALID_SPAN_CONTEXT
        random = bool(parent_flags & TraceFlags.RANDOM_TRACE_ID)
        if not valid:
            parent, trace_id, random, trace_state = None, self._new_trace_id(), self._random, None
        if parent is not None and self._follows_parent:
            recording = sampled = bool(parent_flags & TraceFlags.SAMPLED)
        elif self._decided is not None:
            recording = sampled = self._decided
        else:
            result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
            recording = result.decision is not Decision.DROP
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            attributes, trace_state = result.attributes, result.trace_state
        own = SpanContext(trace_id, self._new_span_id(), False, _flags(sampled, random), trace_state)
        return own, parent, attributes, recording, sampled

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
        """The resource of its spans."""
        return self.provider.resource


def _flags(sampled: bool, random: bool) -> TraceFlags:
    return _FLAGS[(TraceFlags.SAMPLED if sampled else 0) | (TraceFlags.RANDOM_TRACE_ID if random else 0)]
