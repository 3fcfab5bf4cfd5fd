"""Span: a compact span, with all methods of the API; `readable` has the properties that readers of finished spans use."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AnyValue, Attributes

from otel_tts import semconv
from otel_tts.core.repeated import RepeatedAttributes
from otel_tts.sdk.direct import encoding
from otel_tts.sdk.direct.readable import Readable, SpanOwner

_logger = logging.getLogger(__name__)

_NEVER = -1 << 31
"""A number of attributes that no span has."""
_EXCEPTION = semconv.EXCEPTION_EVENT.name


class Unrecorded(trace.NonRecordingSpan):
    """A span that the sampler drops. Its children need not ask the sampler.

    Args:
        context: its own; with ``new_id``, that of its parent.
        new_id: makes its id. Nobody reads the ids of most dropped spans, so this one is made when it is read.
    """

    def __init__(self, context: SpanContext, new_id: Callable[[], int] | None = None) -> None:
        super().__init__(context)
        self._new_id = new_id

    def get_span_context(self) -> SpanContext:
        if self._new_id is None:
            return self._context
        own: SpanContext | None = self.__dict__.get("_own")
        if own is None:
            trace_id, _, _, flags, trace_state, _ = self._context
            # One operation: another thread that asks at the same time gets the same id.
            own = self.__dict__.setdefault("_own", SpanContext(trace_id, self._new_id(), False, flags, trace_state))
        return own

    def __repr__(self) -> str:
        return f"Unrecorded({self.get_span_context()!r})"


class Span(Readable, trace.Span):
    """A span of `otel_tts.sdk.direct.tracer.Tracer`. It behaves like one of the SDK, except for the text of its warnings.

    Plain attribute values are kept in a dict. If there are others (sequences, other types, too many, too long), the dict is replaced by
    the SDK's own class for attributes, which applies its rules to them. Attributes that come again with other spans are encoded once.

    Args:
        tracer: its tracer.
        name: of the span.
        context: its identity: trace id, span id, flags and state.
        parent: the context of the parent; None for a root.
        kind: of the span.
        attributes: at its start.
        links: to other spans; None without any.
        start_time: in nanoseconds since the epoch; None: now.
        record_exception: whether an exception that leaves its block becomes an event.
        set_status_on_exception: whether an exception that leaves its block sets the status.
        sampled: whether it is exported.
    """

    describes = False
    """Whether an exception or a description of the status is recorded: the host may have written what it says."""

    def __init__(
        self,
        tracer: SpanOwner,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
        start_time: int | None,
        record_exception: bool,
        set_status_on_exception: bool,
        sampled: bool,
    ) -> None:
        self.tracer = tracer
        self._name = name
        self._context = context
        self.sampled = sampled
        self._parent = parent
        self._kind = kind
        self._start_time = time.time_ns() if start_time is None else start_time
        self._record_exception = record_exception
        self._set_status_on_exception = set_status_on_exception
        self._end_time: int | None = None
        self._status = encoding.UNSET
        self._events = self._links = None
        self._most = tracer.plain_attributes  # attributes in a dict; -1 once the SDK's class has replaced it
        self._open = [True]  # emptied, in one operation, by whoever ends it
        # `_encoded`: the bytes of the attributes. If `_count`, of how many, is not what the dict has, they are of no use.
        if type(attributes) is RepeatedAttributes and attributes.encoded is not None and len(attributes) <= self._most:
            self._attributes, self._encoded, self._count = {**attributes}, [attributes.encoded], len(attributes)
        else:
            self._attributes, self._encoded, self._count = {}, [], 0
            if attributes:
                self.set_attributes(attributes)
        for link in links or ():
            if link is not None:
                self._link(link.context, link.attributes)

    def __repr__(self) -> str:
        return f"Span(name={self._name!r}, context={self._context})"

    # -- the API ------------------------------------------------------------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        return self._context

    @property
    def parent(self) -> SpanContext | None:
        """The context of the parent; None for a root. As of OpenTelemetry's SDK."""
        return self._parent

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        if self._can_change("set_attribute"):
            attributes = self._attributes
            if type(attributes) is dict and type(value) in encoding.PLAIN and type(key) is str and key:
                if key in attributes:
                    self._count = _NEVER
                    del attributes[key]  # as in the SDK, the attribute that is set last is the last one
                elif len(attributes) >= self.tracer.plain_attributes:
                    self._bounded()[key] = value
                    return
                attributes[key] = value
            else:
                self._bounded()[key] = value

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        if self._end_time is not None and not self._can_change("set_attributes"):
            return
        kept = self._attributes
        if type(attributes) is not RepeatedAttributes:
            encoded = encoding.plain_attributes(attributes)
        elif (encoded := attributes.encoded) is None:
            encoded = attributes.encoded = encoding.plain_attributes(attributes)
        count = len(attributes)
        if encoded is None or len(kept) + count > self._most:
            self._clean(attributes)
            return
        if kept.keys().isdisjoint(attributes):
            self._encoded.append(encoded)
            self._count += count
        else:
            self._count = _NEVER
            for key in attributes:
                kept.pop(key, None)  # as in the SDK, the attribute that is set last is the last one
        kept.update(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        if not self._can_change("add_event"):
            return
        limits = self.tracer.limits
        kept = BoundedAttributes(limits.max_event_attributes, attributes, max_value_len=limits.max_attribute_length)
        if self._events is None:
            self._events = BoundedList(limits.max_events)
        self._events.append(Event(name, kept, timestamp))
        if name == _EXCEPTION:
            self.describes = True

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self._can_change("add_link"):
            self._link(context, attributes)

    def update_name(self, name: str) -> None:
        if self._can_change("update_name"):
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if not self._can_change("set_status"):
            return
        code = status.status_code if isinstance(status, Status) else status
        if code is StatusCode.UNSET or self._status.status_code is StatusCode.OK:
            return
        self.describes = True
        if isinstance(status, StatusCode):
            self._status = Status(status, description)
            return
        if description is not None:
            _logger.warning("The description of a status is part of it: another one is ignored.")
        self._status = status

    def record_exception(
        self, exception: BaseException, attributes: Attributes = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        cls = type(exception)
        described: dict[str, AnyValue] = {
            semconv.EXCEPTION_TYPE.key: (
                f"{cls.__module__}.{cls.__qualname__}" if cls.__module__ and cls.__module__ != "builtins" else cls.__qualname__
            ),
            semconv.EXCEPTION_MESSAGE.key: str(exception),
            semconv.EXCEPTION_STACKTRACE.key: "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", described | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        try:
            self._open.pop()
        except IndexError:
            _logger.warning("The span has ended already.")
            return
        self._end_time = time.time_ns() if end_time is None else end_time
        tracer = self.tracer
        if self.sampled:
            tracer.take(self)
        if tracer.provider.foreign:
            tracer.provider.late(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None and self.is_recording():
            if self._record_exception:
                self.record_exception(error, escaped=True)
            if self._set_status_on_exception:
                self.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        super().__exit__(kind, error, tb)

    # -- storage ------------------------------------------------------------------------------------------------------------------

    def _can_change(self, method: str) -> bool:
        if self._end_time is None:
            return True
        _logger.warning("The span has ended: %s changes nothing.", method)
        return False

    def _clean(self, values: Mapping[str, AnyValue]) -> None:
        # As in the SDK: keys of other types become text if they can, which the SDK does for a complete mapping only.
        bounded, limits = self._bounded(), self.tracer.limits
        cleaned = BoundedAttributes(None, values, max_value_len=limits.max_span_attribute_length)
        if bounded.maxlen == 0:
            bounded.dropped += len(values)
            return
        bounded.dropped += cleaned.dropped
        for key, value in cleaned.items():
            bounded[key] = value

    def _bounded(self) -> BoundedAttributes:
        if not isinstance(self._attributes, BoundedAttributes):
            self._most, self._count = -1, _NEVER
            limits = self.tracer.limits
            self._attributes = BoundedAttributes(
                limits.max_span_attributes, self._attributes, immutable=False, max_value_len=limits.max_span_attribute_length
            )
        return self._attributes

    def _link(self, context: SpanContext | None, attributes: Attributes) -> None:
        if context is None or not (context.is_valid or attributes or context.trace_state):
            return
        limits = self.tracer.limits
        kept = BoundedAttributes(limits.max_link_attributes, attributes, max_value_len=limits.max_attribute_length)
        if self._links is None:
            self._links = BoundedList(limits.max_links)
        self._links.append(Link(context, kept))

    def encode(self) -> bytes:
        """Encode the finished span as OTLP."""
        attributes, encoded = self._attributes, self._encoded
        # One was set again, or another thread was setting one at the same time.
        if len(attributes) != self._count:
            values = dict(attributes)  # in one operation: a thread that still sets one would disturb a loop
            encoded = [encoding.plain_attributes(values) or encoding.attributes(b"\x4a", values.items())]
        further = encoding.UNSET_ONLY
        if not (self._status is encoding.UNSET and self._events is self._links is None and self._most >= 0):
            dropped = self.dropped_attributes, self.dropped_events, self.dropped_links
            further = encoding.further(self._status, self._events or (), self._links or (), dropped)
        return encoding.span(
            self._context, self._parent, self._name, self._kind, self._start_time, self._end_time or 0, encoded, further
        )
