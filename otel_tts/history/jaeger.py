"""Spans from Jaeger 2, which stands in for Tempo where there is no container engine (https://www.jaegertracing.io/docs/latest/apis/)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from otel_tts import semconv
from otel_tts.history.http import Backend
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.search import TraceBackend
from otel_tts.history.traces import Trace, spans

_RECENT = 10_000
"""Syntheses among which a trace is looked for of whose id only the beginning is known."""


class Jaeger(TraceBackend):
    """Jaeger, by its third API, which answers in OTLP/JSON. It searches within one service only."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def trace(self, trace_id: str) -> Trace | None:
        """See `TraceBackend.trace`."""
        return Trace.of(spans(self._asked(f"/api/v3/traces/{trace_id}", {})))

    def ids(self, prefix: str) -> set[str]:
        """See `TraceBackend.ids`: among those that began last."""
        now = int(datetime.now(UTC).timestamp()) + 1
        found, _ = self.search(EVERYTHING, 0, now, _RECENT)
        return {request.trace_id for request in found if request.trace_id.startswith(prefix)}

    def search(self, wanted: RequestFilter, start: int, end: int, limit: int) -> tuple[list[Request], bool]:
        """See `TraceBackend.search`."""
        found: dict[str, Request] = {}
        complete = True
        for service in self._services() if wanted.service is None else [wanted.service]:
            parameters: dict[str, str | float] = {
                "query.service_name": service,
                "query.operation_name": semconv.SYNTHESIS_SPAN.name,
                "query.duration_min": f"{1000 * (wanted.slower_than or 0):.0f}ms",
                "query.start_time_min": _moment(start),
                "query.start_time_max": _moment(end),
                "query.num_traces": limit,
                "query.search_depth": limit,  # its name in later releases; each ignores the other
            }
            requests = [Request.of(s) for s in spans(self._asked("/api/v3/traces", parameters), semconv.SYNTHESIS_SPAN.name)]
            complete = complete and len({request.trace_id for request in requests}) < limit
            found |= {request.span_id: request for request in requests}
        return list(found.values()), complete

    def _services(self) -> list[str]:
        said = self._backend.get("/api/v3/services", {})
        return list(said["services"]) if said else []

    def _asked(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        return (self._backend.get(path, parameters) or {}).get("result", {})


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
