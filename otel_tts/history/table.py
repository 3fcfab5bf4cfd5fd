"""Tables: the requests of many lines of a traces file, as values by field.

Only what requests need is decoded. Spans that have the same keys, as most have, are read together, a key at a time: that takes half the
time of reading them one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from otel_tts import semconv
from otel_tts.history import otlp
from otel_tts.history.columns import Columns
from otel_tts.history.requests import ATTRIBUTES, DEFAULTS, OURS, Request, as_array, own
from otel_tts.settings import EVERYWHERE, Selection

Row = tuple[Any, ...]
_FIELDS = Request.__slots__
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16
_HEXADECIMAL = re.compile("[0-9a-f]*").fullmatch
_LAST_NS = 2**63
_LEAST, _MOST = -(2**63), 2**64
_UNSET = msgspec.UNSET
_NO_RAW = msgspec.Raw()


class _Value(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    stringValue: str | msgspec.UnsetType = _UNSET  # noqa: N815 - OTLP/JSON's own names
    boolValue: bool | msgspec.UnsetType = _UNSET  # noqa: N815
    intValue: int | str | msgspec.UnsetType = _UNSET  # noqa: N815
    doubleValue: float | msgspec.UnsetType = _UNSET  # noqa: N815
    arrayValue: msgspec.Raw = _NO_RAW  # noqa: N815
    kvlistValue: msgspec.Raw = _NO_RAW  # noqa: N815
    bytesValue: msgspec.Raw = _NO_RAW  # noqa: N815


class _KeyValue(msgspec.Struct, gc=False):
    key: str
    value: _Value


class _EncodedSpan(msgspec.Struct, gc=False):
    traceId: str  # noqa: N815
    spanId: str  # noqa: N815
    startTimeUnixNano: int | str  # noqa: N815
    endTimeUnixNano: int | str  # noqa: N815
    name: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"[]")


class _ScopeSpans(msgspec.Struct):
    spans: list[_EncodedSpan] = []


class _Process(msgspec.Struct):
    attributes: list[_KeyValue] = []


class _ResourceSpans(msgspec.Struct):
    resource: _Process = msgspec.field(default_factory=_Process)
    scopeSpans: list[_ScopeSpans] = []  # noqa: N815


class _TracesExport(msgspec.Struct):
    resourceSpans: list[_ResourceSpans] = []  # noqa: N815


_export = msgspec.json.Decoder(_TracesExport)
_attributes = msgspec.json.Decoder(list[_KeyValue])
_key = attrgetter("key")
_KeyValues = Sequence[_KeyValue]


class Table:
    """The requests of one line after another."""

    def __init__(self, selection: Selection = EVERYWHERE) -> None:
        """``selection``: of which processes."""
        self._selection = selection
        self._values: dict[str, list[Any]] = {name: [] for name in _FIELDS}
        self._order: list[int] = []  # the number of each request; those that were read together stand together

    def __len__(self) -> int:
        return len(self._order)

    def add(self, rows: Sequence[Row]) -> None:
        """Add requests, each as its fields in their order.

        Args:
            rows: points of metrics.
        """
        self._order += range(len(self), len(self) + len(rows))
        for row in rows:
            for name, value in zip(_FIELDS, row, strict=True):
                self._values[name].append(value)

    def add_export(self, export: bytes) -> int:
        """Add the requests of an export in OTLP/JSON; gives how many.

        Args:
            export: one line of a file.

        Raises:
            ValueError: something in it is not as it should be. Nothing of it was added.
        """
        read = []
        before = len(self)
        for resource in _export.decode(export).resourceSpans:
            spans = [span for scope in resource.scopeSpans for span in scope.spans if span.name == semconv.SYNTHESIS_SPAN.name]
            if not spans or not self._selection.holds(_texts_of(resource.resource)):
                continue
            service, version = _service(resource.resource)
            for numbers, values in _grouped(spans):
                read.append(([before + number for number in numbers], values | {"service": service, "version": version}))
            before += len(spans)
        for order, by_field in read:
            self._order += order
            for name, so_far in self._values.items():
                value = by_field.get(name, DEFAULTS.get(name))
                so_far.extend(value if isinstance(value, list) else [value] * len(order))
        return sum(len(order) for order, _ in read)

    def columns(self) -> Columns:
        """The requests, in the order of their lines."""
        return Columns.from_values(list(self._values.values()), self._order)


def _service(process: _Process) -> tuple[str, str]:
    values = _texts_of(process)
    service, version = values.get("service.name", ""), values.get("service.version", "")
    if not (isinstance(service, str) and isinstance(version, str)):
        raise ValueError("no service")  # noqa: TRY004 - as every field that is something else
    return service, version


def _texts_of(process: _Process) -> dict[str, Any]:
    return {attribute.key: attribute.value.stringValue for attribute in process.attributes}


def _grouped(spans: Sequence[_EncodedSpan]) -> Iterator[tuple[Sequence[int], dict[str, Any]]]:
    """The spans that have the same keys: their numbers, and their values by field."""
    trace_ids, span_ids = [span.traceId for span in spans], [span.spanId for span in spans]
    starts, ends = [int(span.startTimeUnixNano) for span in spans], [int(span.endTimeUnixNano) for span in spans]
    _require(
        all(0 <= start <= end < _LAST_NS for start, end in zip(starts, ends, strict=True))
        and _are_ids(trace_ids, _TRACE_DIGITS)
        and _are_ids(span_ids, _SPAN_DIGITS)
    )
    decoded = [_attributes.decode(span.attributes) for span in spans]
    by_keys: dict[tuple[str, ...], list[int]] = {}
    for number, attributes in enumerate(decoded):
        by_keys.setdefault(tuple(map(_key, attributes)), []).append(number)
    for keys, numbers in by_keys.items():
        _require(len(set(keys)) == len(keys))
        yield (
            numbers,
            {
                "trace_id": [trace_ids[number] for number in numbers],
                "span_id": [span_ids[number] for number in numbers],
                "start": [starts[number] / 1e9 for number in numbers],
                "duration": [(ends[number] - starts[number]) / 1e9 for number in numbers],
            }
            | _by_field(keys, [decoded[number] for number in numbers]),
        )


def _are_ids(ids: Sequence[str], digits: int) -> bool:
    return set(map(len, ids)) == {digits} and _HEXADECIMAL("".join(ids)) is not None


def _by_field(keys: Sequence[str], decoded: Sequence[_KeyValues]) -> dict[str, Any]:
    """The values of spans that have these keys."""
    values: dict[str, Any] = {}
    others: list[_KeyValues] = []
    for key, attributes in zip(keys, zip(*decoded, strict=True), strict=True):
        if (place := _PLACES.get(key)) is not None:
            name, read = place
            values[name] = read(attributes)
        elif key not in OURS:
            others.append(attributes)
    if others:
        values["own"] = [own({a.key: _any(a.value) for a in attributes}) for attributes in zip(*others, strict=True)]
    return values


def _texts(attributes: _KeyValues) -> list[Any]:
    return _all_of(str, [attribute.value.stringValue for attribute in attributes])


def _booleans(attributes: _KeyValues) -> list[Any]:
    return _all_of(bool, [attribute.value.boolValue for attribute in attributes])


def _arrays(attributes: _KeyValues) -> list[Any]:
    values = [_any(attribute.value) for attribute in attributes]
    _require(set(map(type, values)) == {tuple})
    return list(map(as_array, values))


def _integers(attributes: _KeyValues) -> list[Any]:
    values = [attribute.value.intValue for attribute in attributes]
    _require(_WHOLE.issuperset(map(type, values)))
    integers = list(map(int, values))  # type: ignore[arg-type]
    _require(min(integers) >= _LEAST and max(integers) < _MOST)
    return integers


def _numbers(attributes: _KeyValues) -> list[Any]:
    values = [attribute.value.doubleValue for attribute in attributes]
    if _ALL[float].issuperset(map(type, values)):
        return values
    return [
        attribute.value.doubleValue if attribute.value.doubleValue is not _UNSET else float(*_integers([attribute]))
        for attribute in attributes
    ]


_WHOLE = frozenset((int, str))
_ALL: Mapping[type, frozenset[type]] = {kind: frozenset((kind,)) for kind in (str, bool, float)}
_READERS: Mapping[str, Callable[[_KeyValues], list[Any]]] = {
    "string": _texts, "boolean": _booleans, "int": _integers, "double": _numbers, "string[]": _arrays,
}  # fmt: skip
_PLACES = {attribute.key: (name, _READERS[attribute.type]) for name, attribute in ATTRIBUTES.items()}


def _all_of(type_: type, values: list[Any]) -> list[Any]:
    _require(_ALL[type_].issuperset(map(type, values)))
    return values


def _any(value: _Value) -> Any:
    """The value of an attribute that is not ours."""
    plain = (value.stringValue, value.boolValue, value.doubleValue)
    given = [part for part in plain if part is not _UNSET]
    given += [otlp.whole(value.intValue)] if value.intValue is not _UNSET else []
    for kind, raw in (("arrayValue", value.arrayValue), ("kvlistValue", value.kvlistValue), ("bytesValue", value.bytesValue)):
        if raw is not _NO_RAW:
            given.append(otlp.value({kind: msgspec.json.decode(raw)}))
    _require(len(given) == 1)
    return given[0]


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("something is not as it should be")
