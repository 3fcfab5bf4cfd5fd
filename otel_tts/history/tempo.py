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
from otel_tts.history.requests import ATTRIBUTES, Request, RequestFilter
from otel_tts.history.search import TraceBackend, windows
from otel_tts.history.traces import DIGITS, Span, Trace, digits, spans
from otel_tts.history.unavailable import HistoryUnavailableError
from otel_tts.semconv import RequestKind

_SPANS = 100
"""Syntheses of one trace that a search tells: Tempo's own limit."""
_SERVICE = "service.name"
_VERSION = "service.version"
_SELECTED = [f"resource.{_SERVICE}", f"resource.{_VERSION}", *(f"span.{attribute.key}" for attribute in ATTRIBUTES.values())]


class Tempo(TraceBackend):
    """Tempo, by its own API."""

    def trace(self, trace_id: str) -> Trace | None:
        """See `TraceBackend.trace`."""
        match self._backend.get(f"/api/v2/traces/{trace_id}", {}):
            case None:
                self._matches({"q": "{}", "limit": 1})  # 404 is its word for nothing, and any other server's too
                return None
            case {"status": "PARTIAL", **others}:
                raise self._backend.incomplete(f"a part of trace {trace_id}", str(others.get("message", "")))
            case dict(answer):
                return Trace.from_spans(spans(_otlp(answer.get("trace") or {}), self.unreadable))
        raise self._unlike()

    def ids(self, prefix: str, start: float, end: float) -> set[str]:
        """See `TraceBackend.ids`."""
        rest = DIGITS - len(prefix)
        significant = prefix.lstrip("0")  # Tempo compares ids without their leading zeros
        query = f'{{ trace:id =~ "{significant}.{{{rest if significant else f"0,{rest}"}}}" }}'
        trace_ids: set[str] = set()
        for first, last in windows(start, end):
            for trace in self._matches({"q": query, "start": first, "end": last, "limit": 10}):
                try:
                    trace_ids.add(_trace_id(trace))
                except otlp.FAULTS:
                    self.unreadable.count += 1
        return trace_ids

    def search(self, wanted: RequestFilter, start: int, end: int, limit: int) -> tuple[list[Request], bool]:
        """See `TraceBackend.search`."""
        selected = dict.fromkeys([*_SELECTED, *(_field(key) for key, _ in wanted.where)])  # of its own accord it tells no others
        conditions = [
            *_conditions(wanted),
            *(
                f"resource.{key} = {json.dumps(value, ensure_ascii=False) if value else 'nil'}"
                for key, value in self._selection.attributes
            ),
        ]
        query = f"{{ {' && '.join(conditions)} }} | select({', '.join(selected)})"
        traces = self._matches({"q": query, "start": start, "end": end, "limit": limit, "spss": _SPANS})
        requests: dict[str, Request] = {}
        for trace in traces:
            try:
                requests |= {request.span_id: request for request in self._syntheses(trace)}
            except otlp.FAULTS:
                self.unreadable.count += 1
        return list(requests.values()), len(traces) < limit

    def _syntheses(self, trace: Mapping[str, Any]) -> Iterator[Request]:
        """The syntheses of a matching trace; read from the whole trace where the search gave only some of them."""
        trace_id, sets = _trace_id(trace), list(otlp.items(trace, "spanSets", self.unreadable))
        matched = [span for spans_matched in sets for span in otlp.items(spans_matched, "spans", self.unreadable)]
        if sum(otlp.whole(spans_matched.get("matched", 0)) for spans_matched in sets) > len(matched):
            whole = self.trace(trace_id)
            yield from (
                Request.from_span(span) for _, span in (whole.walk() if whole else ()) if span.name == semconv.SYNTHESIS_SPAN.name
            )
            return
        for span in matched:
            try:
                yield Request.from_span(_span(trace_id, span, self.unreadable))
            except otlp.FAULTS:
                self.unreadable.count += 1

    def _matches(self, parameters: Mapping[str, str | float]) -> list[Any]:
        """The traces that a search matches: all of them, or as many as its limit allows."""
        answer = self._backend.get("/api/search", parameters)
        if not isinstance(answer, Mapping) or not answer.keys() & {"traces", "metrics"}:
            raise self._unlike()
        traces = list(otlp.items(answer, "traces", self.unreadable))
        if answer.get("status") == "PARTIAL":
            raise self._backend.incomplete("a part of the traces", str(answer.get("message", "")))
        match answer.get("metrics"):
            case {"totalJobs": jobs, **metrics} if len(traces) < int(parameters["limit"]):  # with as many it stops early
                done = metrics.get("completedJobs", 0)  # protobuf's own JSON leaves 0 out
                if done != jobs:
                    raise self._backend.incomplete("a part of the traces", f"jobs done: {done} of {jobs}")
        return traces

    def _unlike(self) -> HistoryUnavailableError:
        return self._backend.unavailable("does not answer as Tempo does", "Is that the address of its API?")


def _conditions(wanted: RequestFilter) -> Iterator[str]:
    yield f"name = {json.dumps(semconv.SYNTHESIS_SPAN.name)}"
    for field, value in (
        (f"span.{semconv.OUTCOME.key}", wanted.outcome),
        (f"span.{semconv.ERROR_TYPE.key}", wanted.error_type),
        (f"span.{semconv.VOICE.key}", wanted.voice),
        (f"resource.{_SERVICE}", wanted.service),
        (f"resource.{_VERSION}", wanted.version),
        (f"span.{semconv.CONVERSATION.key}", wanted.conversation),
        (f"span.{semconv.KIND.key}", wanted.kind if wanted.kind != RequestKind.INTERACTIVE else None),  # which spans do not say
    ):
        if value is not None:
            yield f"{field} = {json.dumps(value, ensure_ascii=False)}"
    if wanted.provider is not None:  # which of them failed is looked at here: not every Tempo compares with the items of an array
        made = f"span.{semconv.PROVIDER.key} = {json.dumps(wanted.provider, ensure_ascii=False)}"
        yield f"({made} || span.{semconv.FALLBACK_USED.key} = true)"
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


def _span(trace_id: str, item: Mapping[str, Any], unreadable: Unreadable) -> Span:
    values = otlp.attributes(item, unreadable)
    return Span(
        trace_id=trace_id,
        span_id=item["spanID"].zfill(16),
        parent_id=None,
        name=semconv.SYNTHESIS_SPAN.name,
        kind="INTERNAL",
        start=otlp.seconds(item["startTimeUnixNano"]),
        duration=otlp.seconds(item["durationNanos"]),
        status="UNSET",
        status_message="",
        attributes=values,
        events=(),
        links=(),
        service=str(values.pop(_SERVICE, "")),
        version=str(values.pop(_VERSION, "")),
    )


_IDS = ("traceId", "spanId", "parentSpanId")


def _otlp(reply: Any) -> Any:
    """Convert to OTLP/JSON: ids are hexadecimal there, and base64 in protobuf's own JSON."""
    match reply:
        case dict():
            return {
                key: _hexadecimal(value) if key in _IDS and isinstance(value, str) else _otlp(value)
                for key, value in reply.items()
            }
        case list():
            return [_otlp(item) for item in reply]
    return reply


def _hexadecimal(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).hex()
    except ValueError:
        return ""  # which is no id
