"""What readers ask of one metric, to compute the rest themselves: exact growth, never `increase()`, which extrapolates.

Series carry the labels ``job`` and ``instance`` of their process, as Prometheus's OTLP ingestion makes them of the resource.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_tts.promql.naming import bucket_series, label, series
from otel_tts.semconv import Instrument, Metric

PROCESS = ("job", "instance")
"""The labels that tell processes apart."""
RESOURCE = ("service_name", "service_version")
"""The labels of a process's service, where Prometheus promotes these resource attributes."""
BOUND = "le"
"""The label of a histogram's buckets: their bound."""


def growth(metric: Metric, window: float, silence: float, matchers: Sequence[str] = ()) -> str:
    """How much a counter, or each bucket of a histogram, grew in the last ``window`` seconds, by service and attributes.

    A series that was not there at the beginning, nor up to ``silence`` seconds before, counted from 0; one that is lower than then
    has begun anew. Processes of which `restarts` knows are left out, and so is what nobody exported in the window.
    """
    now = f"last_over_time({_selector(metric, matchers)}[{_duration(window)}])"
    before = f"last_over_time({_selector(metric, matchers)}[{_duration(silence)}] offset {_duration(window)})"
    by = ", ".join((*RESOURCE, PROCESS[0], *map(label, metric.attributes), *_bounds(metric)))
    restarted = restarts(metric, window, silence, matchers)
    return f"sum by ({by}) (({now} - {before} >= 0 or {now}) unless on ({', '.join(PROCESS)}) {restarted})"


def restarts(metric: Metric, window: float, silence: float, matchers: Sequence[str] = ()) -> str:
    """The processes that began to count anew in the last ``window`` seconds or up to ``silence`` seconds before."""
    return f"group by ({', '.join(PROCESS)}) (resets({samples(metric, window + silence, matchers)}) > 0)"


def samples(metric: Metric, window: float, matchers: Sequence[str] = ()) -> str:
    """All that was exported of a metric in the last ``window`` seconds; of a histogram, its buckets."""
    return f"{_selector(metric, matchers)}[{_duration(window)}]"


def level(metric: Metric, window: float, matchers: Sequence[str] = ()) -> str:
    """The last value of each series in the last ``window`` seconds."""
    return f"last_over_time({samples(metric, window, matchers)})"


def exported(metric: Metric, window: float) -> str:
    """How many values were exported of a metric in the last ``window`` seconds, over all series."""
    return f"sum(count_over_time({samples(metric, window)}))"


def newest(metric: Metric) -> str:
    """The moment of the newest sample of a metric in the last five minutes, in seconds since the Unix epoch."""
    return f"max(timestamp({_selector(metric, ())}))"


def newest_within(metric: Metric, window: float) -> str:
    """The same in the last ``window`` seconds, to the minute."""
    return f"max(max_over_time(timestamp({_selector(metric, ())})[{_duration(window)}:1m]))"


def equals(name: str, value: str) -> str:
    """A matcher: the label has that value."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def _selector(metric: Metric, matchers: Sequence[str]) -> str:
    name = bucket_series(metric) if metric.instrument is Instrument.HISTOGRAM else series(metric)
    return f"{name}{{{', '.join(matchers)}}}"


def _bounds(metric: Metric) -> tuple[str, ...]:
    return (BOUND,) if metric.instrument is Instrument.HISTOGRAM else ()


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
