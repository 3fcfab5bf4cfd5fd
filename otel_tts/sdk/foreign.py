"""Spans with parts that otel-tts did not write: what other instrumentations and the host record of URLs and of exceptions.

While text capture is off, they leave without the values of queries and without what exceptions say: an engine may put the text to
speak into an exception, and whichever instrumentation sees it records it on a span of its own, as an event and in the status.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, Status

from otel_tts import semconv
from otel_tts.sdk import content, queries
from otel_tts.sdk.masking import SHORTEST, without
from otel_tts.sdk.tracebacks import without_messages

_MESSAGE = semconv.EXCEPTION_MESSAGE.key
_STACKTRACE = semconv.EXCEPTION_STACKTRACE.key
_TYPE = semconv.EXCEPTION_TYPE.key
_TYPES = frozenset((_TYPE, _STACKTRACE, semconv.ERROR_TYPE.key))
"""Attributes that say what kind of an error it was: a message that is the same word takes nothing from them."""
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
    "UNAUTHENTICATED",
)  # fmt: skip
_KNOWN = frozenset((*semconv.ErrorType, *_CODES))
"""Descriptions of a status that say nothing more."""


def spans(batch: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
    """Return the spans without text of others; those that have none are the same objects.

    Args:
        batch: the spans.
    """
    return [span(one) for one in batch]


def span(one: ReadableSpan) -> ReadableSpan:
    """Return the span without values of queries and messages of exceptions; the same object if it has none.

    Args:
        one: the span. Of one of otel-tts's own, only what the host has added is looked at: its attributes and frames are clean.
    """
    scope = one.instrumentation_scope
    ours = scope is not None and scope.name == semconv.SCOPE
    status = _status(one)
    before = one.attributes or {}, one.events, one.links  # each access makes a new object
    attributes, events, links = before
    if not ours or any(_MESSAGE in (event.attributes or ()) for event in events):
        name = scope.name if scope is not None else ""
        words = {*_messages(attributes), *(word for event in events for word in _messages(event.attributes or {}))}
        messages = sorted(words, key=len, reverse=True)
        events = _replaced(events, [_event(event, messages) for event in events])
        if not ours:
            attributes = content.without(_masked(attributes, messages), name)
            events = _replaced(events, [_without_content(event, name) for event in events])
            links = _replaced(links, [_link(link, messages, name) for link in links])
    if status is one.status and all(new is old for new, old in zip((attributes, events, links), before, strict=True)):
        return one
    masked = copy.copy(one)
    vars(masked).update(
        _attributes=_bounded(attributes, one.dropped_attributes),
        _events=_limited(events, one.dropped_events),
        _links=_limited(links, one.dropped_links),
        _status=status,
    )
    return masked


P = TypeVar("P", Event, Link)


def _replaced(before: Sequence[P], after: Sequence[P]) -> Sequence[P]:
    return before if all(new is old for new, old in zip(after, before, strict=True)) else after


def _limited(items: Sequence[Any], dropped: int) -> BoundedList[Any]:
    kept: BoundedList[Any] = BoundedList(max(1, len(items)))
    kept.extend(items)
    kept.dropped = dropped
    return kept


def _bounded(attributes: Mapping[str, Any], dropped: int) -> BoundedAttributes:
    kept = BoundedAttributes(attributes=dict(attributes))
    kept.dropped = dropped
    return kept


def _messages(attributes: Mapping[str, Any]) -> Iterator[str]:
    message = attributes.get(_MESSAGE)
    if isinstance(message, str) and len(message) >= SHORTEST:
        yield message


def _masked(given: Mapping[str, Any], messages: Sequence[str]) -> Mapping[str, Any]:
    """Return the attributes without queries and messages; the same object if there are none."""
    attributes = queries.attributes(given)
    if _MESSAGE not in attributes and _STACKTRACE not in attributes and not messages:
        return attributes
    changed = {key: value for key, value in attributes.items() if key != _MESSAGE}
    if (stacktrace := changed.get(_STACKTRACE)) is not None:
        for message in messages:  # it may look like a traceback itself
            stacktrace = without(stacktrace, f": {message}")
        changed[_STACKTRACE] = without_messages(stacktrace) if isinstance(stacktrace, str) else ""
    for message in messages:
        changed = {key: value if key in _TYPES else without(value, message) for key, value in changed.items()}
    return attributes if attributes is given and changed == dict(given) else changed


def _event(event: Event, messages: Sequence[str]) -> Event:
    before = event.attributes or {}
    attributes = _masked(before, messages)
    return event if attributes is before else Event(event.name, _bounded(attributes, event.dropped_attributes), event.timestamp)


def _without_content(event: Event, scope: str) -> Event:
    before = event.attributes or {}
    attributes = {} if content.is_message(event.name) else content.without(before, scope)
    return event if attributes is before else Event(event.name, _bounded(attributes, event.dropped_attributes), event.timestamp)


def _link(link: Link, messages: Sequence[str], scope: str) -> Link:
    before = link.attributes or {}
    attributes = content.without(_masked(before, messages), scope)
    return link if attributes is before else Link(link.context, _bounded(attributes, link.dropped_attributes))


def _status(one: ReadableSpan) -> Status:
    """Return the status with no more of its description than a type of error, a code of gRPC, or the class of a recorded exception."""
    description = one.status.description
    if not description or description.removeprefix("StatusCode.") in _KNOWN:
        return one.status
    for event in one.events:
        name = (event.attributes or {}).get(_TYPE)
        if isinstance(name, str):
            for kind in (name, name.rpartition(".")[2]):
                if description == kind:
                    return one.status
                if description.startswith(f"{kind}:"):
                    return Status(one.status.status_code, kind)
    return Status(one.status.status_code)
