"""Traces: the spans of one request, as a tree."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otel_tts import semconv
from otel_tts.history.otlp import attributes

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
    """Another span that has to do with this one."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One span. ``start`` is in seconds since the Unix epoch, ``duration`` in seconds; ids are hexadecimal.

    kind: ``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER`` or ``CONSUMER``. status: ``UNSET``, ``OK`` or ``ERROR``. service and
    version: the ``service.name`` and ``service.version`` of the process that made it. children: in the order in which they started.
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

    @property
    def end(self) -> float:
        """When it ended, in seconds since the Unix epoch."""
        return self.start + self.duration

    def walk(self) -> Iterator[tuple[int, Span]]:
        """This span and all below, parents first, each with its depth below this one."""
        yield 0, self
        for child in self.children:
            for depth, span in child.walk():
                yield depth + 1, span


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of one trace. Spans whose parent is not, because a remote caller keeps it, are roots."""

    trace_id: str
    roots: tuple[Span, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Trace | None:
        """The tree of the spans of one trace; None without any. A span that comes twice counts once."""
        known = {span.span_id: span for span in spans}
        children: dict[str | None, list[Span]] = {}
        for span in sorted(known.values(), key=lambda span: span.start):
            children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)

        def grown(span: Span) -> Span:
            return replace(span, children=tuple(map(grown, children.get(span.span_id, ()))))

        roots = tuple(map(grown, children.get(None, ())))
        return cls(roots[0].trace_id, roots) if roots else None

    def walk(self) -> Iterator[tuple[int, Span]]:
        """All spans, parents first, each with its depth."""
        for root in self.roots:
            yield from root.walk()


def spans(request: Mapping[str, Any], name: str | None = None) -> Iterator[Span]:
    """The spans of an OTLP/JSON export request, each without children; only those of that name, where one is given."""
    for resource in request.get("resourceSpans", ()):
        process = attributes(resource.get("resource", {}))
        service, version = str(process.get("service.name", "")), str(process.get("service.version", ""))
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                if name is None or span.get("name") == name:
                    yield _span(span, service, version)


def _span(span: Mapping[str, Any], service: str, version: str) -> Span:
    start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    status = span.get("status", {})
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId") or None,
        name=span.get("name", ""),
        kind=_named(_KINDS, span.get("kind", 0)),
        start=start / 1e9,
        duration=(end - start) / 1e9,
        status=_named(_STATUSES, status.get("code", 0)),
        status_message=status.get("message", ""),
        attributes=attributes(span),
        events=tuple(
            Event(event.get("name", ""), int(event["timeUnixNano"]) / 1e9, attributes(event))
            for event in sorted(span.get("events", ()), key=_order)
        ),
        links=tuple(Link(link["traceId"], link["spanId"], attributes(link)) for link in span.get("links", ())),
        service=service,
        version=version,
    )


_EVENTS = {event.name: number for kind in semconv.SPANS for number, event in enumerate(kind.events)}


def _order(event: Mapping[str, Any]) -> tuple[int, int]:
    """By time, and events of the same moment as the registry has them: backends do not keep their order."""
    return int(event["timeUnixNano"]), _EVENTS.get(event.get("name", ""), len(_EVENTS))


def _named(names: Sequence[str], given: int | str) -> str:
    """The name of an enumeration's value, which is a number in OTLP/JSON, and in protobuf's own JSON a longer name."""
    return names[given] if isinstance(given, int) else given.rpartition("_")[2]


def digits(trace_id: str) -> str:
    """The hexadecimal digits of a trace id, or the first 8 or more of them, as spans have them.

    Raises:
        ValueError: it is no such thing.
    """
    wanted = trace_id.strip().lower()
    if not re.fullmatch("[0-9a-f]{8,32}", wanted):
        raise ValueError(f"{trace_id!r} is no trace id: it takes {DIGITS} hexadecimal digits, or the first 8 or more of them.")
    return wanted


def only(wanted: str, trace_ids: Collection[str]) -> str | None:
    """The one trace id that begins so; None when there is none.

    Raises:
        ValueError: there are several.
    """
    if len(trace_ids) > 1:
        shown = ", ".join(sorted(trace_ids)[:5])
        raise ValueError(f"{len(trace_ids)} traces begin with {wanted!r}: {shown}. Give more digits.")
    return next(iter(trace_ids), None)
