"""Cleaning of the host's telemetry before export: a lone surrogate in any of its texts would make an exporter lose the complete batch.

The telemetry of otel-tts is clean already (`core.clean`); this is for the telemetry of the program's own code and its libraries. It
runs before each exporter, and before each scrape.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from otel_tts import semconv

T = TypeVar("T")

_SURROGATES = re.compile("[\ud800-\udfff]")
_DEEPEST = 16
"""The most levels of nested maps and lists that are read: exporters accept no more."""


def spans(batch: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
    """Return the spans with replacements for what cannot be encoded; clean ones are the same objects.

    Args:
        batch: the spans.
    """
    return [_span(span) for span in batch]


def logs(batch: Sequence[ReadableLogRecord]) -> Sequence[ReadableLogRecord]:
    """Return the log records with replacements for what cannot be encoded.

    Args:
        batch: the log records.
    """
    return [_value(record) for record in batch]


def metrics(data: MetricsData) -> MetricsData:
    """Return the metrics with replacements for what cannot be encoded.

    Args:
        data: the metrics.
    """
    return _value(data)


def _span(span: ReadableSpan) -> ReadableSpan:
    scope = span.instrumentation_scope
    if scope is not None and scope.name == semconv.SCOPE:
        return span
    parts = {
        name: value
        for name in ("_name", "_attributes", "_events", "_links", "_status", "_resource", "_instrumentation_scope")
        if (value := _value(before := getattr(span, name))) is not before
    }
    if not parts:
        return span
    cleaned = copy.copy(span)
    vars(cleaned).update(parts)
    return cleaned


def _value(value: T, depth: int = 0) -> T:
    """Return the same object if it is clean, else a cleaned copy."""
    kind = type(value)
    if kind in (int, float, bool, type(None)) or depth > _DEEPEST:
        return value
    if isinstance(value, str):
        return value if value.isascii() else _text(value)  # type: ignore[return-value]
    cleaned: Any
    if isinstance(value, Mapping):
        if all(_value(k, depth + 1) is k and _value(v, depth + 1) is v for k, v in value.items()):
            return value
        cleaned = {_value(key, depth + 1): _value(item, depth + 1) for key, item in value.items()}
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        cleaned = tuple(_value(item, depth + 1) for item in value)
        if all(new is old for new, old in zip(cleaned, value, strict=False)):
            return value
    elif is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: new
            for field in fields(value)
            if field.init and (new := _value(old := getattr(value, field.name), depth + 1)) is not old
        }
        return replace(value, **changed) if changed else value
    else:
        cleaned = _object(value, depth)
    return cleaned  # type: ignore[no-any-return]


def _object(value: Any, depth: int) -> Any:
    """Clean an object of one of the SDK's classes that are not dataclasses."""
    if isinstance(value, LogRecord):
        parts = {
            name: new
            for name in ("body", "attributes", "severity_text", "event_name")
            if (new := _value(old := getattr(value, name), depth + 1)) is not old
        }
        if parts:
            value = copy.copy(value)
            vars(value).update(parts)
        return value
    if isinstance(value, Event):
        name, attributes = _value(value.name), _value(value.attributes, depth + 1)
        return value if (name is value.name and attributes is value.attributes) else Event(name, attributes, value.timestamp)
    if isinstance(value, Link):
        attributes = _value(value.attributes, depth + 1)
        return value if attributes is value.attributes else Link(value.context, attributes)
    if isinstance(value, Status):
        description = _value(value.description)
        return value if description is value.description else Status(value.status_code, description)
    if isinstance(value, Resource):
        attributes = _value(value.attributes, depth + 1)
        return value if attributes is value.attributes else Resource(attributes, value.schema_url)
    if isinstance(value, InstrumentationScope):
        attributes, name, version = _value(value.attributes, depth + 1), _value(value.name), _value(value.version)
        if (attributes, name, version) == (value.attributes, value.name, value.version):
            return value
        return InstrumentationScope(name, version, value.schema_url, attributes)
    return value


def _text(value: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value) if _SURROGATES.search(value) else value
