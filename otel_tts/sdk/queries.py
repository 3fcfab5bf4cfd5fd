"""Queries of URLs in what other instrumentations record: a text that came or went in one is replaced, its key stays."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan

from otel_tts import semconv

REPLACEMENT = "REDACTED"
"""What the semantic conventions of HTTP put in place of a value."""

_QUERIES = frozenset(("url.query",))
_URLS = frozenset(("url.full", "url.original", "http.url", "http.target"))
_KEYS = _QUERIES | _URLS


def spans(batch: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
    """Return the spans without the values of queries; those that have none are the same objects.

    Args:
        batch: the spans.
    """
    return [span(one) for one in batch]


def span(one: ReadableSpan) -> ReadableSpan:
    """Return the span without the values of queries; the same object if it has none, or if it is one of otel-tts's own.

    Args:
        one: the span.
    """
    scope = one.instrumentation_scope
    if scope is not None and scope.name == semconv.SCOPE:
        return one
    before = one.attributes or {}
    after = attributes(before)
    if after is before:
        return one
    kept = BoundedAttributes(attributes=after)
    kept.dropped = one.dropped_attributes
    masked = copy.copy(one)
    vars(masked)["_attributes"] = kept
    return masked


def attributes(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes without the values of queries; the same object if there are none.

    Args:
        given: the attributes.
    """
    if _KEYS.isdisjoint(given):
        return given
    replaced = {key: _query(given[key]) if key in _QUERIES else _url(given[key]) for key in _KEYS & given.keys()}
    return {**given, **replaced} if any(given[key] != value for key, value in replaced.items()) else given


def _url(value: object) -> str:
    if not isinstance(value, str):
        return REPLACEMENT
    rest, hash_, fragment = value.partition("#")
    address, mark, query = rest.partition("?")
    return f"{address}{mark}{_query(query)}{hash_}{REPLACEMENT if fragment else ''}"


def _query(value: object) -> str:
    if not isinstance(value, str):
        return REPLACEMENT
    return "&".join(map(_part, value.split("&")))


def _part(part: str) -> str:
    key, equals, value = part.partition("=")
    if not equals:
        return REPLACEMENT if part else ""  # a whole text may stand there without a key
    return f"{key}={REPLACEMENT if value else ''}"
