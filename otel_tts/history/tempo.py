"""Spans from Tempo: searched with TraceQL, and whole traces by their ids (https://grafana.com/docs/tempo/latest/api_docs/)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_tts import semconv
from otel_tts.history import otlp
from otel_tts.history.otlp import Unreadable
from otel_tts.history.requests import SAID, Request, RequestFilter
from otel_tts.history.search import TraceBackend, windows
from otel_tts.history.traces import DIGITS, Span, Trace, digits, spans
from otel_tts.history.unavailable import HistoryUnavailableError
from otel_tts.semconv import RequestKind

_SPANS = 100
"""Syntheses of one trace that a search tells: Tempo's own limit."""
_SERVICE = "service.name"
_VERSION = "service.version"
_SELECTED = [f"resource.{_SERVICE}", f"resource.{_VERSION}", *(f"span.{attribute.key}" for attribute in SAID.values())]


class Tempo(TraceBackend):
    """Tempo, by its own API."""

    def trace(self, trace_id: str) -> Trace | None:
        """See `TraceBackend.trace`."""
        answer = self._backend.get(f"/api/v2/traces/{trace_id}", {})
        if answer is None:
            return None
        if not isinstance(answer, Mapping):
            raise self._unlike()
        return Trace.of(spans(_otlp(answer.get("trace") or {}), self.unreadable))

    def ids(self, prefix: str, start: float, end: float) -> set[str]:
        """See `TraceBackend.ids`."""
        rest = DIGITS - len(prefix)
        significant = prefix.lstrip("0")  # Tempo compares ids without their leading zeros
        query = f'{{ trace:id =~ "{significant}.{{{rest if significant else f"0,{rest}"}}}" }}'
        found: set[str] = set()
        for first, last in windows(start, end):
            answer = self._backend.get("/api/search", {"q": query, "start": first, "end": last, "limit": 10})
            for trace in self._traces(answer):
                try:
                    found.add(_trace_id(trace))
                except otlp.FAULTS:
                    self.unreadable.count += 1
        return found

    def search(self, wanted: RequestFilter, start: int, end: int, limit: int) -> tuple[list[Request], bool]:
        """See `TraceBackend.search`."""
        selected = dict.fromkeys([*_SELECTED, *(_field(key) for key, _ in wanted.where)])  # of its own accord it tells no others
        query = f"{{ {' && '.join(_conditions(wanted))} }} | select({', '.join(selected)})"
        answer = self._backend.get("/api/search", {"q": query, "start": start, "end": end, "limit": limit, "spss": _SPANS})
        traces = self._traces(answer)
        found: dict[str, Request] = {}
        for trace in traces:
            for matched in otlp.items(trace, "spanSets", self.unreadable):
                for span in otlp.items(matched, "spans", self.unreadable):
                    try:
                        request = Request.of(_span(_trace_id(trace), span, self.unreadable))
                        found[request.span_id] = request
                    except otlp.FAULTS:
                        self.unreadable.count += 1
        return list(found.values()), len(traces) < limit

    def _traces(self, answer: Any) -> list[Mapping[str, Any]]:
        match answer:
            case {"traces": list(traces)}:
                return [trace for trace in traces if isinstance(trace, Mapping)]
            case {"metrics": dict()}:
                return []
        raise self._unlike()

    def _unlike(self) -> HistoryUnavailableError:
        return self._backend.unavailable("does not answer as Tempo does", "Is that the address of its API?")


def _conditions(wanted: RequestFilter) -> Iterator[str]:
    yield f"name = {json.dumps(semconv.SYNTHESIS_SPAN.name)}"
    for field, value in (
        (f"span.{semconv.OUTCOME.key}", wanted.outcome),
        (f"span.{semconv.PROVIDER.key}", wanted.provider),
        (f"resource.{_SERVICE}", wanted.service),
        (f"resource.{_VERSION}", wanted.version),
        (f"span.{semconv.CONVERSATION.key}", wanted.conversation),
        (f"span.{semconv.KIND.key}", wanted.kind if wanted.kind != RequestKind.INTERACTIVE else None),  # which spans do not say
    ):
        if value is not None:
            yield f"{field} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in wanted.where:
        readings = [json.dumps(value, ensure_ascii=False), *([value] if _NOT_TEXT.fullmatch(value) else [])]
        yield f"({' || '.join(f'{_field(key)} = {reading}' for reading in readings)})"
    if wanted.slower_than is not None:
        yield f"duration > {round(wanted.slower_than * 1e9)}ns"


_NOT_TEXT = re.compile(r"true|false|-?\d{1,15}(\.\d+)?")


def _field(key: str) -> str:
    """An attribute of a span in TraceQL."""
    return f"span.{key}" if re.fullmatch(r"[A-Za-z_][\w.]*", key) else f"span.{json.dumps(key, ensure_ascii=False)}"


def _trace_id(trace: Mapping[str, Any]) -> str:
    return digits(str(trace["traceID"]).zfill(DIGITS))


def _span(trace_id: str, found: Mapping[str, Any], unreadable: Unreadable) -> Span:
    said = otlp.attributes(found, unreadable)
    return Span(
        trace_id=trace_id,
        span_id=found["spanID"].zfill(16),
        parent_id=None,
        name=semconv.SYNTHESIS_SPAN.name,
        kind="INTERNAL",
        start=otlp.seconds(found["startTimeUnixNano"]),
        duration=otlp.seconds(found["durationNanos"]),
        status="UNSET",
        status_message="",
        attributes=said,
        events=(),
        links=(),
        service=str(said.pop(_SERVICE, "")),
        version=str(said.pop(_VERSION, "")),
    )


_IDS = ("traceId", "spanId", "parentSpanId")


def _otlp(said: Any) -> Any:
    """As OTLP/JSON has it: ids hexadecimal, where protobuf's own JSON has base64."""
    match said:
        case dict():
            return {
                key: _hexadecimal(value) if key in _IDS and isinstance(value, str) else _otlp(value)
                for key, value in said.items()
            }
        case list():
            return [_otlp(item) for item in said]
    return said


def _hexadecimal(said: str) -> str:
    try:
        return base64.b64decode(said).hex()
    except ValueError:
        return ""  # which is no id
