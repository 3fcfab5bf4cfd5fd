"""Sizes of the SDK's telemetry in OTLP (https://opentelemetry.io/docs/specs/otlp/): what it takes at most, without encoding it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_NUMBER = 11  # a tag of one byte, and the longest varint; a double or a fixed64 takes 9
_IDS = 18 + 10  # of a trace and of a span


def field(content_bytes: int) -> int:
    """Return the size of a field that has a length: with its tag, which takes one byte.

    Args:
        content_bytes: the bytes of its content.
    """
    return content_bytes + (
        2 if content_bytes < 1 << 7 else 3 if content_bytes < 1 << 14 else 4 if content_bytes < 1 << 21 else 6
    )


def _varint(value: int) -> int:
    return 1 if value < 1 << 7 else (value.bit_length() + 6) // 7


def text(value: str) -> int:
    """Return the size of a text.

    Args:
        value: the text.
    """
    return field(len(value) if value.isascii() else len(value.encode("utf-8", "replace")))


def any_value(value: Any) -> int:
    """Return the size of a value that an attribute or the body of a log record has.

    Args:
        value: of any type that an exporter encodes.
    """
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, int | float):
        return _NUMBER
    if isinstance(value, bytes):
        return field(len(value))
    if isinstance(value, Mapping):
        return field(attributes(value))
    if isinstance(value, Sequence):
        return field(sum(field(any_value(item)) for item in value))
    return _NUMBER  # no exporter encodes it


def attributes(values: Mapping[str, Any] | None) -> int:
    """Return the size of attributes.

    Args:
        values: by their keys.
    """
    return sum(field(text(str(key)) + field(any_value(value))) for key, value in values.items()) if values else 0


def resource(described: Resource) -> int:
    """Return the size of what a request has for each resource, without its scopes.

    Args:
        described: the resource.
    """
    return field(0) + 4 + field(attributes(described.attributes)) + text(described.schema_url or "")


def scope(library: InstrumentationScope | None) -> int:
    """Return the size of what a request has for each scope, without its telemetry.

    Args:
        library: the scope.
    """
    if library is None:
        return field(0) + 4
    named = text(library.name) + text(library.version or "") + attributes(library.attributes)
    return field(0) + 4 + field(named) + text(library.schema_url or "")


def span(ended: ReadableSpan) -> int:
    """Return the size of a span.

    Args:
        ended: the span.
    """
    context = ended.context
    state = 0 if context is None else sum(len(key) + len(value) + 2 for key, value in context.trace_state.items())
    size = _IDS + field(state) + 10 + text(ended.name) + 7 * _NUMBER + attributes(ended.attributes)
    size += sum(field(2 * _NUMBER + text(event.name) + attributes(event.attributes)) for event in ended.events)
    size += sum(field(_IDS + 2 * _NUMBER + attributes(link.attributes)) for link in ended.links)
    return field(size + field(_NUMBER + text(ended.status.description or "")))


def log_record(readable: ReadableLogRecord) -> int:
    """Return the size of a log record.

    Args:
        readable: the log record.
    """
    record = readable.log_record
    named = text(record.severity_text or "") + text(record.event_name or "")
    return field(_IDS + 5 * _NUMBER + named + field(any_value(record.body)) + attributes(record.attributes))


def metric(described: Metric) -> int:
    """Return the size of what a request has for each metric, without its points.

    Args:
        described: the metric.
    """
    named = text(described.name) + text(described.description or "") + text(described.unit or "")
    return 2 * (field(0) + 4) + named + 2 * _NUMBER


def point(measured: Any) -> int:
    """Return the size of a point.

    Args:
        measured: a point of the SDK: a number, a histogram or an exponential histogram.
    """
    size = 8 * _NUMBER + attributes(measured.attributes)
    size += sum(field(_IDS + 2 * _NUMBER + attributes(exemplar.filtered_attributes)) for exemplar in measured.exemplars)
    if (counts := getattr(measured, "bucket_counts", None)) is not None:
        size += field(8 * len(counts)) + field(8 * len(measured.explicit_bounds))
    for name in ("positive", "negative"):
        if (buckets := getattr(measured, name, None)) is not None:
            size += field(_NUMBER + field(sum(_varint(count) for count in buckets.bucket_counts)))
    return field(size)
