"""Traces: the spans of one request, as a tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otel_tts import semconv
from otel_tts.history import otlp
from otel_tts.history.otlp import FAULTS, Unreadable, attributes, items, seconds, text
from otel_tts.settings import EVERYWHERE, Selection

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")
DIGITS = 32
"""Of a complete trace id, hexadecimal."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a span, at ``time`` (seconds since the Unix epoch)."""

    name: str
    time: float
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to a related span."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One span. ``start`` is in seconds since the Unix epoch, ``duration`` in seconds; ids are hexadecimal.

    kind: ``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER`` or ``CONSUMER``. status: ``UNSET``, ``OK`` or ``ERROR``. service and
    version: the ``service.name`` and ``service.version`` of the process that made it. children: in the order in which they started.
    warnings: what a backend says of a span that it did not keep as it came.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start: float
    duration: float
    status: str
    status_message: str
    attributes: Mapping[str, Any]
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    service: str
    version: str
    children: tuple[Span, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def end(self) -> float:
        """When it ended, in seconds since the Unix epoch."""
        return self.start + self.duration

    def walk(self) -> Iterator[tuple[int, Span]]:
        """This span and all below, parents first, each with its depth below this one."""
        pending = [(0, self)]  # no recursion: a chain may be longer than Python's stack
        while pending:
            depth, span = pending.pop()
            yield depth, span
            pending += [(depth + 1, child) for child in reversed(span.children)]


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of one trace. Spans whose parent is not, because a remote caller keeps it, are roots."""

    trace_id: str
    roots: tuple[Span, ...]

    @classmethod
    def from_spans(cls, spans: Iterable[Span]) -> Trace | None:
        """The tree of the spans of one trace; None without any. A span that comes twice counts once.

        Args:
            spans: all that there are of it, in any order.
        """
        by_id = {span.span_id: span for span in sorted(spans, key=lambda span: span.start)}
        children: dict[str | None, list[Span]] = {}
        for span in by_id.values():
            children.setdefault(span.parent_id if span.parent_id in by_id else None, []).append(span)
        roots = children.get(None, [])
        ordered: dict[str, None] = {}  # parents first
        pending = [*reversed(roots)]
        while pending or len(ordered) < len(by_id):
            if not pending:  # what is left are circles, which have no beginning: the first span of one is it
                pending = [next(span for span in by_id.values() if span.span_id not in ordered)]
                roots.append(pending[0])
            span = pending.pop()
            if span.span_id not in ordered:
                ordered[span.span_id] = None
                pending += reversed(children.get(span.span_id, ()))
        grown: dict[str, Span] = {}
        for span_id in reversed(ordered):
            below = children.get(span_id, ())
            grown[span_id] = replace(by_id[span_id], children=tuple(grown[c.span_id] for c in below if c.span_id in grown))
        return cls(roots[0].trace_id, tuple(grown[root.span_id] for root in roots)) if roots else None

    def walk(self) -> Iterator[tuple[int, Span]]:
        """All spans, parents first, each with its depth."""
        for root in self.roots:
            yield from root.walk()


def spans(
    request: Mapping[str, Any], unreadable: Unreadable, name: str | None = None, selection: Selection = EVERYWHERE
) -> Iterator[Span]:
    """The spans of an OTLP/JSON export request, each without children; only those of that name, where one is given.

    Args:
        request: an export request, JSON.
        unreadable: counts what cannot be read.
        name: of the spans; None: of any name.
        selection: which processes' spans.
    """
    for resource in items(request, "resourceSpans", unreadable):
        process = attributes(resource.get("resource", {}), unreadable)
        if not selection.holds(process):
            continue
        service, version = str(process.get("service.name", "")), str(process.get("service.version", ""))
        for scope in items(resource, "scopeSpans", unreadable):
            for span in items(scope, "spans", unreadable):
                if name is None or span.get("name") == name:
                    try:
                        yield _span(span, service, version, unreadable)
                    except FAULTS:
                        unreadable.count += 1


def _span(span: Mapping[str, Any], service: str, version: str, unreadable: Unreadable) -> Span:
    """One span. Without ids and times it is none; any other field that cannot be read costs only itself."""
    fields = _OptionalFields(span, unreadable)
    start, end = otlp.whole(span["startTimeUnixNano"]), otlp.whole(span["endTimeUnixNano"])
    began, ended = seconds(start), seconds(end)
    if ended < began:
        unreadable.count += 1
        end = start
    status = fields.read("status", dict, {})
    return Span(
        trace_id=_id(span["traceId"], _TRACE_ID),
        span_id=_id(span["spanId"], _SPAN_ID),
        parent_id=fields.read("parentSpanId", lambda given: _id(given, _SPAN_ID) if given else None, None),
        name=fields.read("name", text, ""),
        kind=fields.read("kind", lambda given: _named(_KINDS, given), _KINDS[0]),
        start=began,
        duration=(end - start) / 1e9,
        status=_OptionalFields(status, unreadable).read("code", lambda given: _named(_STATUSES, given), _STATUSES[0]),
        status_message=_OptionalFields(status, unreadable).read("message", text, ""),
        attributes=attributes(span, unreadable),
        events=tuple(sorted(_events(span, unreadable), key=_order)),
        links=tuple(_links(span, unreadable)),
        service=service,
        version=version,
    )


class _OptionalFields:
    """The fields of an object that may be missing, and may be something else than they should."""

    def __init__(self, given: Mapping[str, Any], unreadable: Unreadable) -> None:
        self._given = given
        self._unreadable = unreadable

    def read(self, name: str, as_: Callable[[Any], Any], missing: Any) -> Any:
        if name not in self._given:
            return missing
        try:
            return as_(self._given[name])
        except FAULTS:
            self._unreadable.count += 1
            return missing


def _events(span: Mapping[str, Any], unreadable: Unreadable) -> Iterator[Event]:
    for event in items(span, "events", unreadable):
        try:
            yield Event(text(event.get("name", "")), seconds(event["timeUnixNano"]), attributes(event, unreadable))
        except FAULTS:
            unreadable.count += 1


def _links(span: Mapping[str, Any], unreadable: Unreadable) -> Iterator[Link]:
    for link in items(span, "links", unreadable):
        try:
            yield Link(_id(link["traceId"], _TRACE_ID), _id(link["spanId"], _SPAN_ID), attributes(link, unreadable))
        except FAULTS:
            unreadable.count += 1


_TRACE_ID = re.compile(f"[0-9a-f]{{{DIGITS}}}")
_SPAN_ID = re.compile("[0-9a-f]{16}")


def _id(given: Any, digits_: re.Pattern[str]) -> str:
    lower = text(given).lower()
    if not digits_.fullmatch(lower):
        raise ValueError("no id")
    return lower


_EVENTS = {event.name: number for kind in semconv.SPANS for number, event in enumerate(kind.events)}


def _order(event: Event) -> tuple[float, int]:
    """By time, and events of the same moment as the registry has them: backends do not keep their order."""
    return event.time, _EVENTS.get(event.name, len(_EVENTS))


def _named(names: Sequence[str], given: Any) -> str:
    """The name of an enumeration's value, which is a number in OTLP/JSON, and in protobuf's own JSON a longer name."""
    if isinstance(given, str):
        return names[names.index(given.rpartition("_")[2])]
    if not 0 <= (number := otlp.whole(given)) < len(names):
        raise ValueError("no value of the enumeration")
    return names[number]


def digits(trace_id: str) -> str:
    """The hexadecimal digits of a trace id, or the first 8 or more of them, as spans have them.

    Args:
        trace_id: as it was given: hexadecimal, perhaps with leading zeros left out.

    Raises:
        ValueError: it is no such thing.
    """
    wanted = trace_id.strip().lower()
    if not re.fullmatch("[0-9a-f]{8,32}", wanted):
        raise ValueError(f"{trace_id!r} is no trace id: it takes {DIGITS} hexadecimal digits, or the first 8 or more of them.")
    return wanted


def only(wanted: str, trace_ids: Collection[str]) -> str | None:
    """The only trace id with this beginning; None when there is none.

    Args:
        wanted: the trace id that was given, or its beginning.
        trace_ids: those that were found.

    Raises:
        ValueError: there are several.
    """
    if len(trace_ids) > 1:
        shown = ", ".join(sorted(trace_ids)[:5])
        raise ValueError(f"Several traces begin with {wanted!r}: {shown}. Give more digits.")
    return next(iter(trace_ids), None)
