"""Encoder of spans to OTLP bytes, https://opentelemetry.io/docs/specs/otlp/: the same as the official one, without its objects.

A service sends the same keys, and mostly the same values, again and again. So keys, and values that repeat, are encoded once.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, SpanKind, Status

_logger = logging.getLogger(__name__)

E = TypeVar("E")

_CACHED = 4096  # the most entries of a cache, which is then emptied
_LONGEST = 64  # the most code points of a value that is cached: longer ones hardly repeat
_IS_REMOTE_KNOWN, _IS_REMOTE = 0x100, 0x200  # https://github.com/open-telemetry/opentelemetry-proto: SpanFlags
_KINDS = {  # OTLP numbers them from 1
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
_CACHEABLE = frozenset((str, bool, int))  # the types of values that repeat
PLAIN = _CACHEABLE | {float}
"""The types of values that are kept unchanged."""
_INT64 = range(-(2**63), 2**63)
_double = struct.Struct("<d").pack
_fixed64 = struct.Struct("<Q").pack
_fixed32 = struct.Struct("<I").pack
_times = struct.Struct("<BQBQ").pack  # the tags and values of a span's start and end
_root = struct.Struct(">HQQHQ6s").pack  # of its trace id, its own id and its flags
_child = struct.Struct(">HQQHQHQ6s").pack  # the same, with its parent's id before the flags
_LOW = 2**64 - 1


def varint(number: int) -> bytes:
    """Encode a non-negative number as a protobuf varint.

    Args:
        number: 0 or more, below 2**64.
    """
    if number < _FEW:
        return _SMALL[number]
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


UNSET = Status()
"""The status of spans that have none."""
UNSET_ONLY = b"\x7a\x00"
"""What `further` returns for most spans: no status, event or link, and nothing dropped."""
_FEW = 1024  # more than most lengths of spans
_SMALL = [bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7)) for number in range(_FEW)]
"""The varints that are used most."""


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a field of bytes, text or a message, with its tag and length.

    Args:
        tag: of the field: number and wire type, encoded.
        content: of the field, encoded.
    """
    return tag + varint(len(content)) + content


def text(value: str) -> bytes:
    """Encode text as UTF-8. A lone surrogate, which is not a character, becomes a question mark.

    Args:
        value: the text.
    """
    return value.encode("utf-8", "replace")


def any_value(value: Any) -> bytes:
    """Encode the content of an ``AnyValue``.

    Args:
        value: of an attribute: str, bool, int, float, bytes, or a sequence or mapping of these.

    Raises:
        ValueError: an integer of more than 64 bits, or a type that OTLP does not have.
    """
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return field(b"\x0a", text(value))
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError("a whole number beyond 64 bits")
        return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    if isinstance(value, Sequence):
        return field(b"\x2a", b"".join(field(b"\x0a", any_value(item)) for item in value))
    if isinstance(value, Mapping):
        return field(b"\x32", b"".join(field(b"\x0a", key_value(str(key), item)) for key, item in value.items()))
    raise ValueError(f"a value of type {type(value).__name__}")


def key_value(key: str, value: Any) -> bytes:
    """Encode the content of a ``KeyValue``.

    Args:
        key: of the attribute.
        value: of an attribute: str, bool, int, float, bytes, or a sequence or mapping of these.
    """
    return field(b"\x0a", text(key)) + field(b"\x12", any_value(value))


def attributes(tag: bytes, values: Iterable[tuple[str, Any]]) -> bytes:
    """Encode attributes as fields with this tag. One that cannot be encoded is left out and logged.

    Args:
        tag: of the field: number and wire type, encoded.
        values: keys and values of attributes.
    """
    encoded = []
    for key, value in values:
        try:
            encoded.append(field(tag, key_value(key, value)))
        except (ValueError, TypeError) as error:
            _logger.warning("Attribute %s is dropped, it is %s.", key, error)
    return b"".join(encoded)


def resource_spans(resource: Resource) -> bytes:
    """Encode the part of a ``ResourceSpans`` before the ``ScopeSpans``.

    Args:
        resource: of the process.
    """
    return field(b"\x0a", attributes(b"\x0a", resource.attributes.items()))


def scope_spans(scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """Encode the parts of a ``ScopeSpans`` before and after the spans.

    Args:
        scope: that made the spans.
    """
    if scope is None:
        return b"\x0a\x00", b""
    content = field(b"\x0a", text(scope.name)) if scope.name else b""
    if scope.version:
        content += field(b"\x12", text(scope.version))
    if scope.attributes:
        content += attributes(b"\x1a", scope.attributes.items())
    return field(b"\x0a", content), field(b"\x1a", text(scope.schema_url)) if scope.schema_url else b""


def request(resource: Resource, spans: Mapping[InstrumentationScope | None, Sequence[bytes]]) -> bytes:
    """Encode an ``ExportTraceServiceRequest`` of spans that `span` has encoded, by scope.

    Args:
        resource: of the process.
        spans: encoded, by scope.
    """
    content = [resource_spans(resource)]
    for scope, encoded in spans.items():
        before, after = scope_spans(scope)
        content += (b"\x12", varint(len(before) + sum(map(len, encoded)) + len(after)), before, *encoded, after)
    if resource.schema_url:
        content.append(field(b"\x1a", text(resource.schema_url)))
    return b"\x0a" + varint(sum(map(len, content))) + b"".join(content)


# Caches, which change by single operations on a dictionary. The same keys and values come again in every span of a process.
_names: dict[str, tuple[SpanKind, bytes]] = {}
_doubles: dict[str, bytes] = {}
"""The encoded float attributes, by key, without the eight bytes of the value."""
_encoded: dict[tuple[str, Any, type], bytes] = {}
"""The encoded attributes of other types, by key, value and type: True equals 1."""


def plain_attributes(values: Mapping[str, Any]) -> bytes | None:
    """Encode attributes of a span, if all are plain: their keys are text, and their values text, bool, int or float; else return None.

    Args:
        values: keys and values of attributes.
    """
    parts = []
    for key, value in values.items():
        kind = type(value)
        if kind is float and (start := _doubles.get(key)) is not None:
            parts.append(start + _double(value))
        elif kind in _CACHEABLE and (attribute := _encoded.get((key, value, kind))) is not None:
            parts.append(attribute)
        elif kind in PLAIN and type(key) is str and key:
            parts.append(_attribute(key, value))
        else:
            return None
    return b"".join(parts)


def _attribute(key: str, value: str | bool | float) -> bytes:
    kind = type(value)
    if kind is float:  # of these, only the key repeats
        return _kept(_doubles, key, field(b"\x4a", key_value(key, 0.0))[:-8]) + _double(value)
    encoded = attributes(b"\x4a", ((key, value),))
    again = encoded and (kind is not str or len(value) <= _LONGEST)  # type: ignore[arg-type]  # it has a length if it is text
    return _kept(_encoded, (key, value, kind), encoded) if again else encoded


def span(
    context: SpanContext,
    parent: SpanContext | None,
    name: str,
    kind: SpanKind,
    start: int,
    end: int,
    encoded: Iterable[bytes],
    further: bytes = UNSET_ONLY,
) -> bytes:
    """Encode one span, as a field of a ``ScopeSpans``.

    Args:
        context: of the span.
        parent: context of the parent; None for a root.
        name: of the span.
        kind: of the span.
        start: in nanoseconds since the epoch.
        end: in nanoseconds since the epoch.
        encoded: its attributes, encoded.
        further: what `further` returns.
    """
    trace_id, span_id, _, _, trace_state, _ = context  # its properties are calls
    if parent is None:
        head = _root(0x0A10, trace_id >> 64, trace_id & _LOW, 0x1208, span_id, _LOCAL)
    else:
        flags = _REMOTE if parent[2] else _LOCAL
        head = _child(0x0A10, trace_id >> 64, trace_id & _LOW, 0x1208, span_id, 0x2208, parent[1], flags)
    if trace_state is not DEFAULT_TRACE_STATE and trace_state:
        head += field(b"\x1a", text(",".join(f"{key}={value}" for key, value in trace_state.items())))
    named = _names.get(name)
    if named is None or named[0] is not kind:
        named = _kept(_names, name, (kind, field(b"\x2a", text(name)) + b"\x30" + _SMALL[_KINDS[kind]]))
    content = b"".join((head, named[1], _times(0x39, start, 0x41, end), *encoded, further))
    size = len(content)
    return b"\x12" + (_SMALL[size] if size < _FEW else varint(size)) + content


def further(status: Status, events: Sequence[Event], links: Sequence[Link], dropped: tuple[int, int, int]) -> bytes:
    """Encode what most spans do not have.

    Args:
        status: of the span.
        events: of the span.
        links: of the span.
        dropped: attributes, events, links beyond their limits.
    """
    return b"".join(_further(status, events, links, dropped))


def _further(status: Status, events: Sequence[Event], links: Sequence[Link], dropped: tuple[int, int, int]) -> Iterable[bytes]:
    if dropped[0]:
        yield b"\x50" + varint(dropped[0])
    for event in events:
        content = b"\x09" + _fixed64(event.timestamp) + field(b"\x12", text(event.name))
        if event.attributes:
            content += attributes(b"\x1a", event.attributes.items())
        if event.dropped_attributes:
            content += b"\x20" + varint(event.dropped_attributes)
        yield field(b"\x5a", content)
    if dropped[1]:
        yield b"\x60" + varint(dropped[1])
    for link in links:
        content = b"\x0a\x10" + link.context.trace_id.to_bytes(16, "big")
        content += b"\x12\x08" + link.context.span_id.to_bytes(8, "big")
        if link.attributes:
            content += attributes(b"\x22", link.attributes.items())
        if link.dropped_attributes:
            content += b"\x28" + varint(link.dropped_attributes)
        content += b"\x35" + _fixed32(_IS_REMOTE_KNOWN | (_IS_REMOTE if link.context.is_remote else 0))
        yield field(b"\x6a", content)
    if dropped[2]:
        yield b"\x70" + varint(dropped[2])
    content = field(b"\x12", text(status.description)) if status.description else b""
    if status.status_code.value:
        content += b"\x18" + _SMALL[status.status_code.value]
    yield field(b"\x7a", content)


_LOCAL = b"\x85\x01" + _fixed32(_IS_REMOTE_KNOWN)
_REMOTE = b"\x85\x01" + _fixed32(_IS_REMOTE_KNOWN | _IS_REMOTE)


def _kept(cache: dict[Any, E], key: Any, encoded: E) -> E:
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = encoded
    return encoded
