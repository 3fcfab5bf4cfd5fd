"""What other instrumentations record: queries of URLs, and messages of exceptions. A text that may stand there is taken out."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from otel_tts import semconv
from otel_tts.sdk import tracebacks

REPLACEMENT = "REDACTED"
"""What the semantic conventions of HTTP put in place of a value."""

_QUERIES = frozenset(("url.query",))
_URLS = frozenset(("url.full", "url.original", "http.url", "http.target"))
_KEYS = _QUERIES | _URLS
_MESSAGE, _STACKTRACE = semconv.EXCEPTION_MESSAGE.key, semconv.EXCEPTION_STACKTRACE.key
_EXCEPTION_KEYS = frozenset((_MESSAGE, _STACKTRACE))
_RAISED = re.compile(r"([^\W\d][\w.<>]*): .", re.DOTALL)
"""A status as OpenTelemetry writes it of an exception: its class and its message."""


def spans(batch: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
    """Return the spans without values of queries and messages of exceptions; those that have none are the same objects.

    Args:
        batch: the spans.
    """
    return [span(one) for one in batch]


def span(one: ReadableSpan) -> ReadableSpan:
    """Return the span without values of queries and messages of exceptions; the same object if it has none, or is otel-tts's own.

    Args:
        one: the span.
    """
    scope = one.instrumentation_scope
    if scope is not None and scope.name == semconv.SCOPE:
        return one
    before = one.attributes or {}
    changed: dict[str, Any] = {}
    if (after := _without_messages(attributes(before))) is not before:
        changed["_attributes"] = _bounded(after, one.dropped_attributes)
    if any(_EXCEPTION_KEYS & (event.attributes or {}).keys() for event in one.events):
        changed["_events"] = [_event(event) for event in one.events]
    if (status := _status(one)) is not one.status:
        changed["_status"] = status
    if not changed:
        return one
    masked = copy.copy(one)
    vars(masked).update(changed)
    return masked


def _without_messages(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if _EXCEPTION_KEYS.isdisjoint(given):
        return given
    kept = {key: value for key, value in given.items() if key not in _EXCEPTION_KEYS}
    if isinstance(trace := given.get(_STACKTRACE), str):
        # First the message that is known: it may look like a traceback itself.
        message = given.get(_MESSAGE)
        kept[_STACKTRACE] = tracebacks.without_messages(trace.replace(f": {message}", "") if message else trace)
    return given if kept == given else kept


def _event(event: Any) -> Any:
    before = event.attributes or {}
    after = _without_messages(before)
    if after is before:
        return event
    return Event(event.name, _bounded(after, event.dropped_attributes), event.timestamp)


def _status(one: ReadableSpan) -> Status:
    """The span's status; of one that says what an exception says, only the exception's class is left."""
    text = one.status.description
    if not text:
        return one.status
    messages = (str((event.attributes or {}).get(_MESSAGE) or "") for event in one.events)
    raised = _RAISED.match(text)
    if raised is None and not any(message and message in text for message in messages):
        return one.status
    return Status(one.status.status_code, raised[1] if raised else REPLACEMENT)


def _bounded(given: Mapping[str, Any], dropped: int) -> BoundedAttributes:
    kept = BoundedAttributes(attributes=given)
    kept.dropped = dropped
    return kept


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
