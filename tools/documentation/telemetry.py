"""``docs/telemetry.md``: everything that otel-tts emits, from the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otel_tts import semconv
from otel_tts.promql import bucket_series, series
from otel_tts.semconv import ERROR_TYPES, FAILURES, Attribute, Event, Instrument, Metric, Outcome, Span
from tools.documentation.markdown import code, page, table

_WHEN: Mapping[Outcome, str] = {
    Outcome.OK: (
        "All audio was delivered. Also a request that ended without an exception, and of whose audio nobody reported anything: neither "
        "an attempt, nor audio that was handed out, nor another request in its block ([spans](#spans))."
    ),
    Outcome.REJECTED: (
        "The input was refused: by our own validation before any attempt (no text, text without a letter or digit in any script, "
        "an unknown voice or encoding, a feature that is not there, the caller's own quota), or by a provider (HTTP 400, 422). Also a "
        "request without audio whose text has no letter or digit, or a stream for which neither text nor an attempt came, such as a turn "
        "in which a language model said nothing."
    ),
    Outcome.CANCELLED: "The caller went away. Audio sent before that is in the delivered seconds, not in the outcome. "
    "Also a request that the service itself dropped without a word, and a request inside an HTTP HEAD request: "
    "see [guides/http.md](guides/http.md#when-the-service-itself-fails).",
    Outcome.DEADLINE: "The caller's deadline passed. A deadline below the configured floor counts as rejected.",
    Outcome.PARTIAL: "It failed after some audio had been delivered. After the first delivered sample there is no fallback.",
    Outcome.EMPTY: "There were words to speak, a provider (or a cache) said success, and gave no samples.",
    Outcome.ERROR: "Everything else: a provider's 401, 403, 404, 429 or 5xx, a full queue, no provider available, a bug.",
}
_COUNTS = {Outcome.OK: "as success", Outcome.CANCELLED: "not", Outcome.REJECTED: "not"} | dict.fromkeys(FAILURES, "as failure")
_INSTRUMENTS = {
    Instrument.COUNTER: "counter",
    Instrument.UP_DOWN_COUNTER: "up-down counter",
    Instrument.HISTOGRAM: "histogram",
    Instrument.GAUGE: "gauge",
}


def render() -> str:
    """The page. The template names everything by its constant in the registry."""
    tables = {
        "outcomes": _outcomes(),
        "overview": _overview(),
        "metrics": "\n\n".join(map(_metric, semconv.METRICS)),
        "spans": "\n\n".join(map(_span, semconv.SPANS)),
        "attributes": _attributes(),
    }
    return page("telemetry.md", "otel_tts/semconv/", dict(_names()) | tables)


def _names() -> Iterator[tuple[str, object]]:
    for constant, value in vars(semconv).items():
        if isinstance(value, Metric | Span | Event):
            yield constant, value.name
        elif isinstance(value, Attribute):
            yield constant, value.key
        elif isinstance(value, str | int):
            yield constant, value


def _outcomes() -> str:
    rows = ([code(o), _WHEN[o], _COUNTS[o], ", ".join(map(code, ERROR_TYPES[o])) or "-"] for o in Outcome)
    return table(["outcome", "when", "counts in the success rate", code(semconv.ERROR_TYPE.key)], rows)


def _overview() -> str:
    rows = (
        [f"[{code(m.name)}](#{_anchor(m.name)})", _INSTRUMENTS[m.instrument], code(m.unit), m.description]
        for m in semconv.METRICS
    )
    return table(["metric", "instrument", "unit", "what"], rows)


def _metric(metric: Metric) -> str:
    histogram = metric.instrument is Instrument.HISTOGRAM
    names = f"{code(bucket_series(metric))}, `_sum` and `_count`" if histogram else code(series(metric))
    sets = f"{metric.worst_case:,} attribute sets" if metric.worst_case > 1 else "one attribute set"
    kept = f", with {metric.label_sets:,} combinations of open values kept apart" if metric.label_sets else ""
    what = f"{_INSTRUMENTS[metric.instrument].capitalize()} in {code(metric.unit)}; in Prometheus {names}."
    blocks = [f"### {metric.name}", metric.description, f"{what} At most {sets}{kept}. Stability: {_stability(metric)}."]
    if histogram:
        blocks.append(f"Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}.")
    if metric.attributes:
        blocks.append(table(["attribute", "values"], ([_link(a), _values(a, metric)] for a in metric.attributes)))
    return "\n\n".join(blocks)


def _span(span: Span) -> str:
    what = f"{span.kind}. {span.description} Stability: {_stability(span)}."
    attributes = table(["attribute", "type", "what"], ([_link(a), a.type, a.description] for a in span.attributes))
    events = table(["event", "what", "attributes"], map(_event, span.events))
    return "\n\n".join([f"### Span `{span.name}`", what, attributes, events])


def _event(event: Event) -> list[str]:
    return [code(event.name), event.description, ", ".join(_link(a) for a in event.attributes) or "-"]


def _attributes() -> str:
    events = [event for span in semconv.SPANS for event in span.events]
    holders: list[Metric | Span | Event] = [*semconv.METRICS, *semconv.SPANS, *events]
    used = {attribute for holder in holders for attribute in holder.attributes}
    rows = (
        [f'<a id="{_anchor(a.key)}-attribute"></a>{code(a.key)}', a.type, a.description, _values(a)]
        for a in sorted(used, key=lambda attribute: attribute.key)
    )
    return table(["attribute", "type", "what", "values on metrics"], rows)


def _values(attribute: Attribute, metric: Metric | None = None) -> str:
    if metric and attribute is semconv.ERROR_TYPE and semconv.RPC_RESPONSE_STATUS_CODE in metric.attributes:
        return f"the status code, where it is the server's fault: {', '.join(map(code, sorted(semconv.GRPC_SERVER_ERRORS)))}"
    if attribute.values:
        return ", ".join(code(str(v).lower() if isinstance(v, bool) else v) for v in attribute.values)
    if attribute.limit:
        return f"open: the declared values, else the first {attribute.limit}, then {code(semconv.OTHER)}"
    return "never on a metric"


def _link(attribute: Attribute) -> str:
    return f"[{code(attribute.key)}](#{_anchor(attribute.key)}-attribute)"


def _stability(entry: Metric | Span) -> str:
    return entry.stability.replace("_", " ")


def _anchor(name: str) -> str:
    """The anchor that the usual Markdown renderers give a heading with this text."""
    return name.replace(".", "")
