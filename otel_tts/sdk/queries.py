"""Queries of URLs in what other instrumentations record: a text that came or went in one is replaced, its key stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPLACEMENT = "REDACTED"
"""What the semantic conventions of HTTP put in place of a value."""

_QUERIES = frozenset(("url.query",))
_URLS = frozenset(("url.full", "url.original", "http.url", "http.target"))
_KEYS = _QUERIES | _URLS


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
