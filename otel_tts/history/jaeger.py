"""Spans from Jaeger 2, by its third API, which answers in OTLP/JSON (https://www.jaegertracing.io/docs/latest/apis/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from otel_tts import formatting, semconv
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.search import TraceBackend
from otel_tts.history.traces import Span, Trace, spans
from otel_tts.settings import EVERYWHERE, Selection

_WARNINGS = "@jaeger@warnings"
"""The attribute in which it says that it did not keep a span as it came."""
_RECENT = 10_000
"""Syntheses among which a trace is looked for of whose id only the beginning is known."""


class Jaeger(TraceBackend):
    """Jaeger. It searches within one service only, and for no part of an id: so do we, service by service.

    Traces are asked for as they were stored: Jaeger would move the times of spans whose clocks it thinks wrong.
    """

    def trace(self, trace_id: str) -> Trace | None:
        """See `TraceBackend.trace`."""
        answer = self._traces(f"/api/v3/traces/{trace_id}", {"raw_traces": "true"})
        if answer is None:
            self._services()  # 404 is its word for nothing, and any other server's too
            return None
        return Trace.from_spans(self._spans(answer))

    def ids(self, prefix: str, start: float, end: float) -> set[str]:
        """See `TraceBackend.ids`; among the syntheses that began last.

        Raises:
            ValueError: it is none of these, and there are more.
        """
        seen = 0
        for page in self.pages(EVERYTHING, start, end):
            if trace_ids := {request.trace_id for request in page if request.trace_id.startswith(prefix)}:
                return trace_ids
            seen += len(page)
            if seen >= _RECENT:
                last = formatting.counted(seen, "synthesis", "syntheses")
                raise ValueError(
                    f"None of the last {last} has a trace that begins with {prefix!r}, and Jaeger searches for no part of an id. "
                    "Give all of its digits."
                )
        return set()

    def search(self, wanted: RequestFilter, start: int, end: int, limit: int) -> tuple[list[Request], bool]:
        """See `TraceBackend.search`."""
        syntheses: dict[tuple[str, str], Span] = {}
        complete = True
        for service in self._services():
            if wanted.service not in (None, service):
                continue
            parameters: dict[str, str | float] = {
                "query.service_name": service,
                "query.operation_name": semconv.SYNTHESIS_SPAN.name,
                "query.start_time_min": _moment(start),
                "query.start_time_max": _moment(end),
                "query.num_traces": limit,
                "query.search_depth": limit,  # its name in the API's definition; each release ignores one of the two
                "query.raw_traces": "true",
            }
            if wanted.slower_than is not None:  # of any span of the trace, in whole microseconds
                parameters["query.duration_min"] = f"{int(wanted.slower_than * 1e6)}us"
            answer = self._traces("/api/v3/traces", parameters) or {}
            all_spans = list(self._spans(answer))
            complete = complete and len({span.trace_id for span in all_spans}) < limit
            for span in self._spans(answer, self._selection) if self._selection else all_spans:
                if span.name == semconv.SYNTHESIS_SPAN.name:
                    syntheses[span.trace_id, span.span_id] = span
        requests = [Request.from_span(span) for span in syntheses.values() if not span.warnings]
        self.unreadable.count += len(syntheses) - len(requests)  # what Jaeger changed in them is not known
        return requests, complete

    def _services(self) -> list[str]:
        match self._backend.get("/api/v3/services", {}):
            case {"services": list(services)}:
                named = [service for service in services if isinstance(service, str) and service]
                self.unreadable.count += len(services) - len(named)  # of one without a name Jaeger refuses to tell
                return named
        raise self._backend.unavailable("does not answer as Jaeger does", "Is that the address of its API?")

    def _traces(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        """The traces as OTLP/JSON; None where Jaeger has none."""
        match self._backend.get(path, parameters):
            case None:
                return None
            case {"result": dict(result), **others} if not any(others.values()):
                return result
            case {"error": problem} | {"errors": problem} | {"warnings": problem} if problem:
                message = problem.get("message", problem) if isinstance(problem, dict) else problem
                raise self._backend.incomplete("a part of the traces", str(message))
        raise self._backend.unavailable("does not answer as Jaeger does", "Is that the address of its API?")

    def _spans(self, answer: Any, selection: Selection = EVERYWHERE) -> Iterator[Span]:
        """The spans of selected processes, with Jaeger's warnings in a field of their own instead of an attribute."""
        for span in spans(answer, self.unreadable, selection=selection):
            attributes = dict(span.attributes)
            match attributes.pop(_WARNINGS, ()):
                case ():
                    yield span
                case tuple(warnings):
                    yield replace(span, attributes=attributes, warnings=tuple(map(str, warnings)))
                case warning:
                    yield replace(span, attributes=attributes, warnings=(str(warning),))


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
