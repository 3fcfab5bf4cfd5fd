"""OTLP/JSON values as Python values (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

Nothing is taken on trust: what a file or a backend has in a field is that field, or it is counted as unreadable and left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from otel_tts import semconv
from otel_tts.semconv import Attribute

FAULTS = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What reading a field that is something else raises."""
_DEEPEST = 16
"""Levels of lists and maps in a value."""
_ARRAY = re.compile(r'\[("([^"\\]|\\.)*"(, ?"([^"\\]|\\.)*")*)?\]')
"""A JSON array of texts."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_TYPES: Mapping[str, str] = {a.key: a.type for a in vars(semconv).values() if isinstance(a, Attribute)}


@dataclass(slots=True)
class Unreadable:
    """How many fields, spans, points or lines could not be read. They were left out."""

    count: int = 0


def attributes(holder: Any, unreadable: Unreadable) -> dict[str, Any]:
    """Decode attributes. Those in the registry get the type that it gives them.

    Args:
        holder: a JSON object with attributes or items.
        unreadable: counts what cannot be read.
    """
    values = {}
    for item in items(holder, "attributes", unreadable):
        try:
            key = text(item["key"])
            given = value(item.get("value", {}))
            if given is not None:
                values[key] = _of_type(_TYPES.get(key), given)
        except FAULTS:
            unreadable.count += 1
    return values


def items(holder: Any, field: str, unreadable: Unreadable) -> Iterator[Mapping[str, Any]]:
    """The objects of a list in a field; a field that is not there is an empty one.

    Args:
        holder: a JSON object with attributes or items.
        field: the name of the list.
        unreadable: counts what cannot be read.
    """
    given = holder.get(field, ()) if isinstance(holder, Mapping) else None
    if not isinstance(given, list | tuple):
        unreadable.count += 1
        return
    for item in given:
        if isinstance(item, Mapping):
            yield item
        else:
            unreadable.count += 1


def value(encoded: Mapping[str, Any], depth: int = 0) -> Any:
    """One value: text, truth, whole number, number, or a tuple or map of values; bytes stay encoded. None when it is empty.

    Args:
        encoded: a value as OTLP's JSON has it.
        depth: how many containers it is in.

    Raises:
        ValueError: it is no such value.
        one of `FAULTS`: it is none.
    """
    if depth > _DEEPEST:
        raise ValueError("a value of too many levels")
    if not encoded:
        return None
    [(kind, given)] = encoded.items()
    match kind:
        case "intValue":
            return whole(given)
        case "doubleValue":
            return number(given)
        case "boolValue" if isinstance(given, bool):
            return given
        case "arrayValue":
            return tuple(value(item, depth + 1) for item in given.get("values", ()))
        case "kvlistValue":
            return {text(item["key"]): value(item["value"], depth + 1) for item in given.get("values", ())}
        case "stringValue" | "bytesValue":
            return text(given)
    raise ValueError(f"no kind of value: {kind}")


def text(given: Any) -> str:
    """Text that can be encoded.

    Args:
        given: a JSON value.

    Raises:
        TypeError: it is no text.
    """
    if not isinstance(given, str):
        raise TypeError("no text")
    return given if given.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", given)


def whole(given: Any) -> int:
    """A whole number of 64 bits, which OTLP/JSON has as text.

    Args:
        given: a JSON value.

    Raises:
        ValueError: it is no such value.
    """
    if isinstance(given, bool) or not isinstance(given, int | str) or (isinstance(given, str) and len(given) > 20):
        raise ValueError("no whole number")
    number = int(given)
    if not -(2**63) <= number < 2**64:
        raise ValueError("a whole number of more than 64 bits")
    return number


def number(given: Any) -> float:
    """A finite number.

    Args:
        given: a JSON value.

    Raises:
        ValueError: it is no such value.
    """
    if isinstance(given, bool) or not math.isfinite(plain := float(given)):
        raise ValueError("no finite number")
    return plain


def seconds(nanoseconds: Any) -> float:
    """A moment, in seconds since the Unix epoch.

    Args:
        nanoseconds: a number or its decimal digits.

    Raises:
        ValueError: it is no such value.
    """
    moment = whole(nanoseconds)
    if not 0 <= moment < 2**63:
        raise ValueError("no moment")
    return moment / 1e9


def _of_type(type_: str | None, given: Any) -> Any:
    match type_, given:
        case (None, _) | ("string", str()) | ("boolean", bool()):
            return given
        case ("int", int()) | ("double", float()) if not isinstance(given, bool):
            return given
        case ("double", int()) if not isinstance(given, bool):
            return float(given)
        case ("string[]", tuple()) if all(isinstance(item, str) for item in given):
            return given
        case ("string[]", str()) if _ARRAY.fullmatch(given):  # Jaeger gives an array as its JSON
            return tuple(json.loads(given))
    raise TypeError(f"no {type_}")
