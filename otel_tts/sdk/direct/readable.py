"""Readable spans: the properties of a compact span that exporters and span processors read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status
from opentelemetry.util.types import AnyValue

SpanAttributes: TypeAlias = "dict[str, AnyValue] | BoundedAttributes"


class SpanProvider(Protocol):
    """The tracer provider of a span, as the span sees it."""

    @property
    def foreign(self) -> Sequence[object]:
        """The span processors that the host has added."""

    def late(self, span: Any) -> None:
        """Pass a finished span to these processors.

        Args:
            span: the span.
        """


class SpanOwner(Protocol):
    """The tracer of a span, as the span sees it."""

    take: Callable[[Any], None]
    """Takes a sampled span that has ended."""
    instrumentation_scope: InstrumentationScope
    limits: SpanLimits
    plain_attributes: int
    """The most attributes that are kept in a plain dict."""

    @property
    def provider(self) -> SpanProvider:
        """The provider of the tracer."""

    @property
    def resource(self) -> Resource:
        """The resource of its spans."""


class Readable:
    """The state of a span, with the properties of the SDK's `ReadableSpan`. The span itself sets the state."""

    tracer: SpanOwner
    _name: str
    _context: SpanContext
    _parent: SpanContext | None
    _kind: SpanKind
    _start_time: int
    _end_time: int | None
    _status: Status
    _attributes: SpanAttributes
    _events: Any
    _links: Any

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @property
    def context(self) -> SpanContext:
        """Its identity: trace id, span id, flags and state."""
        return self._context

    @property
    def parent(self) -> SpanContext | None:
        """The context of its parent; None for a root."""
        return self._parent

    @property
    def kind(self) -> SpanKind:
        """Its kind."""
        return self._kind

    @property
    def start_time(self) -> int:
        """The start, in nanoseconds since the epoch."""
        return self._start_time

    @property
    def end_time(self) -> int | None:
        """The end, in nanoseconds since the epoch; None while it runs."""
        return self._end_time

    @property
    def status(self) -> Status:
        """The status."""
        return self._status

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        """The attributes, which cannot be changed this way."""
        return MappingProxyType(self._attributes)

    @property
    def events(self) -> Sequence[Event]:
        """The events, oldest first."""
        return tuple(self._events or ())

    @property
    def links(self) -> Sequence[Link]:
        """The links."""
        return tuple(self._links or ())

    @property
    def dropped_attributes(self) -> int:
        """How many attributes exceeded the limit."""
        return self._attributes.dropped if isinstance(self._attributes, BoundedAttributes) else 0

    @property
    def dropped_events(self) -> int:
        """How many events exceeded the limit."""
        return self._events.dropped if self._events is not None else 0

    @property
    def dropped_links(self) -> int:
        """How many links exceeded the limit."""
        return self._links.dropped if self._links is not None else 0

    @property
    def resource(self) -> Resource:
        """The resource of its tracer provider."""
        return self.tracer.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The instrumentation scope of its tracer."""
        return self.tracer.instrumentation_scope

    def readable(self) -> ReadableSpan:
        """Return it as a span of the SDK."""
        return ReadableSpan(
            self._name,
            self._context,
            self._parent,
            self.resource,
            self._attributes,
            self._events if self._events is not None else (),
            self._links if self._links is not None else (),
            self._kind,
            status=self._status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_scope=self.tracer.instrumentation_scope,
        )

    def to_json(self, indent: int | None = 4) -> str:
        """Return it as JSON for people, in the SDK's form.

        Args:
            indent: blanks for each level; None: one line.
        """
        text: str = self.readable().to_json(indent)
        return text
