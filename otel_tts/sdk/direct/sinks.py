"""Sinks of finished spans: OTLP bytes for a receiver, or the SDK's spans for the writer of the local files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from otel_tts.core.guard import guard
from otel_tts.sdk import foreign, parts
from otel_tts.sdk.direct import encoding
from otel_tts.sdk.direct.queue import Queue
from otel_tts.sdk.direct.senders import Sender
from otel_tts.sdk.direct.span import Span

_logger = logging.getLogger(__name__)


class Origin(Protocol):
    """The origin of a span: the tracer of a span of the direct path, or a span of the SDK itself."""

    @property
    def resource(self) -> Resource:
        """The resource that the span belongs to."""

    @property
    def instrumentation_scope(self) -> InstrumentationScope | None:
        """The library that created the span."""


class _SpanOrigin(NamedTuple):
    resource: Resource
    instrumentation_scope: InstrumentationScope | None


Encoded: TypeAlias = tuple[Origin, bytes]


class OTLPSink:
    """Sink that encodes spans to bytes when they end: so the queue is small, and the exporting thread has little to do.

    Args:
        sender: sends a batch.
        environ: the environment variables.
        capture_text: whether texts and messages of exceptions may be exported.
    """

    def __init__(self, sender: Sender, environ: Mapping[str, str], *, capture_text: bool) -> None:
        self._sender = sender
        self._capture_text = capture_text
        self.queue: Queue[Encoded] = Queue.from_environ(self._send, environ, lambda encoded: len(encoded[1]))

    def take(self, span: Span | ReadableSpan) -> None:
        """Encode a span that ended, and put it into the queue.

        Args:
            span: a finished span.
        """
        origin: Origin
        try:
            if type(span) is Span and not span.describes:
                origin, encoded = span.tracer, span.encode()
            else:
                if not self._capture_text:
                    span = foreign.span(span.readable() if isinstance(span, Span) else span)
                origin, encoded = encode(span)
        except Exception as error:  # noqa: BLE001 - the code that ends a span must go on, whatever the span contains
            guard.pass_on(error)
            _logger.warning("A span could not be encoded (%s) and is missing.", type(error).__name__)
            return
        self.queue.put((origin, encoded), len(encoded))

    def flush(self, timeout_s: float) -> bool:
        """Send the spans in the queue.

        Args:
            timeout_s: the time limit, in seconds.
        """
        return self.queue.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Send the spans in the queue, and stop.

        Args:
            timeout_s: the time limit, in seconds.
        """
        self.queue.close(timeout_s)
        self._sender.close()

    def _send(self, batch: list[Encoded]) -> float | None:
        for encoded, count in export_requests(batch):
            if len(encoded) > parts.MOST_BYTES:
                library = batch[0][0].instrumentation_scope
                parts.drop(f"a span of {library.name if library else 'no library'}", len(encoded))
            elif (again_s := self._sender.send(encoded, count)) is not None:
                return again_s
            del batch[:count]  # the queue keeps the others, and they come again
        return None


class ExporterSink:
    """Sink for an exporter of the SDK's spans, which are built when they are exported.

    Args:
        exporter: of the SDK.
        environ: the environment variables.
    """

    def __init__(self, exporter: SpanExporter, environ: Mapping[str, str]) -> None:
        self._exporter = exporter
        self.queue: Queue[Span | ReadableSpan] = Queue.from_environ(self._export, environ)
        self.take = self.queue.put

    def flush(self, timeout_s: float) -> bool:
        """Export the spans in the queue.

        Args:
            timeout_s: the time limit, in seconds.
        """
        return self.queue.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Export the spans in the queue, and stop.

        Args:
            timeout_s: the time limit, in seconds.
        """
        self.queue.close(timeout_s)
        self._exporter.shutdown()

    def _export(self, batch: Sequence[Span | ReadableSpan]) -> None:
        self._exporter.export([span.readable() if isinstance(span, Span) else span for span in batch])


def encode(span: Span | ReadableSpan) -> Encoded:
    """Encode a finished span, of the direct path or of the SDK.

    Args:
        span: a finished span.
    """
    if isinstance(span, Span):
        return span.tracer, span.encode()
    return _SpanOrigin(span.resource, span.instrumentation_scope), encoding.span(
        span.context or INVALID_SPAN_CONTEXT,
        span.parent,
        span.name,
        span.kind,
        span.start_time or 0,
        span.end_time or 0,
        (encoding.attributes(b"\x4a", (span.attributes or {}).items()),),
        encoding.further(
            span.status, span.events, span.links, (span.dropped_attributes, span.dropped_events, span.dropped_links)
        ),
    )


def export_requests(batch: Sequence[Encoded], most_bytes: int = parts.MOST_BYTES) -> list[tuple[bytes, int]]:
    """Encode export requests, with the number of their spans. Only that of a single span may be larger than a request should be.

    Args:
        batch: encoded spans.
        most_bytes: of a request, in bytes.
    """
    encoded = request(batch)
    if len(encoded) <= most_bytes or len(batch) == 1:
        return [(encoded, len(batch))]
    half = len(batch) // 2
    return [*export_requests(batch[:half], most_bytes), *export_requests(batch[half:], most_bytes)]


def request(batch: Sequence[Encoded]) -> bytes:
    """Encode an export request. A batch has one resource, unless the process has forked while spans were in the queue.

    Args:
        batch: encoded spans.
    """
    origins: dict[int, tuple[Origin, list[bytes]]] = {}
    for origin, encoded in batch:
        spans = origins.get(id(origin))
        if spans is None:
            spans = origins[id(origin)] = origin, []
        spans[1].append(encoded)
    resources: dict[int, tuple[Resource, dict[InstrumentationScope | None, list[bytes]]]] = {}
    for origin, spans_of_origin in origins.values():
        resource = origin.resource
        scopes = resources.setdefault(id(resource), (resource, {}))[1]
        scopes.setdefault(origin.instrumentation_scope, []).extend(spans_of_origin)
    return b"".join(encoding.request(resource, scopes) for resource, scopes in resources.values())
