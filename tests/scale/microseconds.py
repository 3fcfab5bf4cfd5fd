"""A history whose times equal those that Cassandra keeps: Jaeger's tables there hold whole microseconds, and cut off what is less."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from otel_tts.history import History, Request, RequestFilter, Span, Trace
from otel_tts.history.requests import EVERYTHING

_CUT_OFF_S = 2e-6  # of a start and of a duration, and what a float of seconds since 1970 cannot tell


class Seconds(float):
    """Seconds that equal others from which less than a microsecond was cut off."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(float(self) - float(other)) < _CUT_OFF_S

    __hash__ = float.__hash__


@dataclass(frozen=True)
class Microseconds:
    """Another history, with the times of its requests and spans compared so."""

    history: History

    def __getattr__(self, name: str) -> Any:
        return getattr(self.history, name)

    def requests(self, filter: RequestFilter = EVERYTHING, limit: int = 100) -> list[Request]:
        """See `History.requests`."""
        return list(map(_request, self.history.requests(filter, limit)))

    def every_request(self, filter: RequestFilter = EVERYTHING) -> Iterator[Request]:
        """See `History.every_request`."""
        yield from map(_request, self.history.every_request(filter))

    def traces(self, trace_ids: Collection[str], since: float, until: float) -> list[Trace]:
        """See `History.traces`."""
        return [replace(trace, roots=_spans(trace.roots)) for trace in self.history.traces(trace_ids, since, until)]

    def trace(self, trace_id: str) -> Trace | None:
        """See `History.trace`."""
        trace = self.history.trace(trace_id)
        return trace and replace(trace, roots=_spans(trace.roots))


def _request(request: Request) -> Request:
    return replace(request, start=Seconds(request.start), duration=Seconds(request.duration))


def _spans(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(
        replace(
            span,
            start=Seconds(span.start),
            duration=Seconds(span.duration),
            events=tuple(replace(event, time=Seconds(event.time)) for event in span.events),
            children=_spans(span.children),
        )
        for span in spans
    )
