"""OTLP/JSON values as Python values (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def attributes(of: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of anything that has some."""
    return {item["key"]: value(item.get("value", {})) for item in of.get("attributes", ())}


def value(encoded: Mapping[str, Any]) -> Any:
    """One value: text, truth, whole number, number, or a tuple of values; bytes stay encoded. None when it is empty."""
    for kind, given in encoded.items():
        match kind:
            case "intValue":
                return int(given)
            case "doubleValue":
                return float(given)
            case "arrayValue":
                return tuple(value(item) for item in given.get("values", ()))
            case "kvlistValue":
                return attributes({"attributes": given.get("values", ())})
            case _:
                return given
    return None
