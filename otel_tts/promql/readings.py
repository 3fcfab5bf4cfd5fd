"""What readers ask of one metric, to compute the rest themselves: exact growth, never `increase()`, which extrapolates.

Series carry the labels ``job`` and ``instance`` of their process, as Prometheus's OTLP ingestion makes them of the resource.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_tts.promql.naming import bucket_series, count_series, label, series, sum_series
from otel_tts.semconv import Instrument, Metric

PLACE = ("service_namespace", "deployment_environment_name", "k8s_cluster_name")
"""The labels of where a process runs, which it may lack."""
PROCESS = ("job", "instance", "service_name", "service_instance_id", *PLACE)
"""The labels that tell processes apart: Prometheus makes the first two of the resource; the others are its attributes, where promoted."""
RESOURCE = ("service_name", "service_version")
"""The labels of a process's service, where Prometheus promotes these resource attributes."""
BOUND = "le"
"""The label of a histogram's buckets: their bound."""


def growth(
    metric: Metric, window_s: float, silence_s: float, where: Sequence[str] = (), without: Sequence[Sequence[str]] = ()
) -> str:
    """How much a counter, or each bucket of a histogram, grew in the last ``window_s`` seconds, by service and attributes.

    A series that was not there at the beginning, nor up to ``silence_s`` seconds before, counted from 0; one that is lower than then
    has begun anew. What nobody exported in the window is left out.

    ``without`` are matchers of processes that are left out: those of which `restarts` knows, whose growth this is not.

    Args:
        metric: the metric.
        window_s: in seconds.
        silence_s: for how long before the window a series may have exported nothing, in seconds.
        without: matchers of processes that are left out.
        where: matchers of what is asked for.
    """
    now = f"last_over_time({samples(metric, window_s, where)})"
    before = f"last_over_time({samples(metric, silence_s, where)} offset {_duration(window_s)})"
    grown = f"{now} - {before} >= 0 or {now}"
    if without:
        process = ", ".join(PROCESS)
        excluded = " or ".join(f"last_over_time({samples(metric, window_s, matchers)})" for matchers in without)
        grown = f"({grown}) unless on ({process}) group by ({process}) ({excluded})"
    return f"sum by ({_grouped(metric, *_bounds(metric))}) ({grown})"


def state(metric: Metric, since_s: float, where: Sequence[str] = ()) -> str:
    """The sum of the last values of a counter, or of each bucket of a histogram, by service and attributes.

    Args:
        metric: the metric.
        since_s: for how long back last values are looked for, in seconds.
        where: matchers of what is asked for.
    """
    return f"sum by ({_grouped(metric, *_bounds(metric))}) (last_over_time({samples(metric, since_s, where)}))"


def present(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """Which combinations of service and attributes were exported in the last ``window_s`` seconds.

    Args:
        metric: the metric.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return f"group by ({_grouped(metric)}) (last_over_time({samples(metric, window_s, one_bound(metric, where))}))"


def by_metric(metrics: Sequence[Metric], expression: Callable[[Metric], str]) -> str:
    """One question for several metrics: each series of the answer has the label ``metric``.

    Args:
        metrics: the metrics.
        expression: what is asked of one of them; its answer has no name.
    """
    return " or ".join(f'label_replace({expression(metric)}, "metric", "{metric.name}", "", "")' for metric in metrics)


def restarts(metric: Metric, window_s: float, silence_s: float, step_s: float | None = None, where: Sequence[str] = ()) -> str:
    """The processes that began to count anew in the last ``window_s`` seconds or up to ``silence_s`` seconds before.

    With ``step_s``, seconds that are fewer than those between two exports, series are looked at step by step. Thanos needs that: in
    samples that are given to `resets` it has made up for what was reset.

    Args:
        metric: the metric.
        window_s: in seconds.
        silence_s: for how long before the window a series may have exported nothing, in seconds.
        step_s: in seconds, fewer than between two exports; None: at once.
        where: matchers of what is asked for.
    """
    since = _duration(window_s + silence_s)
    stepped = f"({_selector(metric, where)} + 0)[{since}:{_duration(step_s)}]" if step_s else ""
    looked_at = stepped or samples(metric, window_s + silence_s, where)
    return f"group by ({', '.join(PROCESS)}) (resets({looked_at}) > 0)"


def fresh(metrics: Sequence[Metric], window_s: float, short_s: float, where: Sequence[str] = ()) -> str:
    """Where a series that was exported in the last ``window_s`` seconds was not in the ``short_s`` seconds before: see `silent`.

    Args:
        metrics: the metrics.
        window_s: in seconds.
        short_s: in seconds.
        where: matchers of what is asked for.
    """

    def of_one(metric: Metric) -> str:
        now, lately = (samples(metric, seconds, one_bound(metric, where)) for seconds in (window_s, short_s))
        return f"count(last_over_time({now}) unless last_over_time({lately} offset {_duration(window_s)}))"

    return " or ".join(map(of_one, metrics))


def silent(metrics: Sequence[Metric], window_s: float, short_s: float, silence_s: float, where: Sequence[str] = ()) -> str:
    """Where a series was silent for longer than ``short_s`` seconds, and is known from before: up to ``silence_s`` before the window.

    The answer has a value where that is so of any series of one of the metrics that was exported in the last ``window_s`` seconds. One
    that was 0 is none: it counts from there.

    Args:
        metrics: the metrics.
        window_s: in seconds.
        short_s: in seconds, fewer than ``silence_s``.
        silence_s: in seconds.
        where: matchers of what is asked for.
    """

    def of_one(metric: Metric) -> str:
        matchers = one_bound(metric, where)
        offset = f"offset {_duration(window_s)}"
        now, before, lately = (samples(metric, seconds, matchers) for seconds in (window_s, silence_s, short_s))
        return f"count(last_over_time({now}) and last_over_time({before} {offset}) > 0 unless last_over_time({lately} {offset}))"

    return " or ".join(map(of_one, metrics))


def samples(metric: Metric, window_s: float, matchers: Sequence[str] = ()) -> str:
    """All that was exported of a metric in the last ``window_s`` seconds; of a histogram, its buckets.

    Args:
        metric: the metric.
        window_s: in seconds.
        matchers: of labels, in PromQL.
    """
    return f"{_selector(metric, matchers)}[{_duration(window_s)}]"


def counts(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """How many values a histogram has had, whenever it was exported in the last ``window_s`` seconds: as classic or native histogram.

    Args:
        metric: the histogram.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return f"{_counting(metric, where)}[{_duration(window_s)}]"


def level(metric: Metric, window_s: float, matchers: Sequence[str] = ()) -> str:
    """The last value of each series in the last ``window_s`` seconds.

    Args:
        metric: the metric.
        window_s: in seconds.
        matchers: of labels, in PromQL.
    """
    return f"last_over_time({samples(metric, window_s, matchers)})"


def exported(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """How many values were exported of a metric in the last ``window_s`` seconds, over all series.

    Args:
        metric: the metric.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return f"sum(count_over_time({counts(metric, window_s, where)}))"


def newest(metric: Metric, where: Sequence[str] = ()) -> str:
    """The moment of the newest sample of a metric in the last five minutes, in seconds since the Unix epoch.

    Args:
        metric: the metric.
        where: matchers of what is asked for.
    """
    return f"max(timestamp({_counting(metric, where)}))"


def newest_within(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """The same in the last ``window_s`` seconds, to the minute.

    Args:
        metric: the metric.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return f"max(max_over_time(timestamp({_counting(metric, where)})[{_duration(window_s)}:1m]))"


def last_seen(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """The moment of the newest sample of a metric in the last ``window_s`` seconds, by service.

    Args:
        metric: the metric.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    by, selector = ", ".join((RESOURCE[0], PROCESS[0])), _counting(metric, where)
    earlier = f"max_over_time(timestamp({selector})[{_duration(window_s)}:1m])"
    return f"max by ({by}) (timestamp({selector}) or {earlier})"


def places(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """Where the processes run that exported a histogram in the last ``window_s`` seconds, by service.

    Args:
        metric: the histogram.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    by = ", ".join((RESOURCE[0], PROCESS[0], *PLACE))
    return f"group by ({by}) (last_over_time({counts(metric, window_s, where)}))"


def series_of(metric: Metric, where: Sequence[str] = ()) -> str:
    """How many series each attribute set of each process has now; of a histogram, without its buckets.

    Args:
        metric: the metric.
        where: matchers of what is asked for.
    """
    names = [series(metric)]
    if metric.instrument is Instrument.HISTOGRAM:
        names += [sum_series(metric), count_series(metric)]
    matchers = ['__name__=~"' + "|".join(names) + '"', *where]
    return f"count without () ({{{', '.join(matchers)}}})"


def native(metrics: Sequence[Metric], window_s: float, where: Sequence[str] = ()) -> str:
    """The names of histograms that the store has without their buckets in the last ``window_s`` seconds: one series in place of many.

    Args:
        metrics: the histograms.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    matchers = ['__name__=~"' + "|".join(map(series, metrics)) + '"', *where]
    return f"count by (__name__) (last_over_time({{{', '.join(matchers)}}}[{_duration(window_s)}]))"


def bounds_of(metric: Metric, where: Sequence[str] = ()) -> str:
    """How many buckets each attribute set of each process has now.

    Args:
        metric: a histogram.
        where: matchers of what is asked for.
    """
    return f"count without ({BOUND}) ({_selector(metric, where)})"


def is_of_process(name: str) -> bool:
    """Whether a label is of the process that exports, and not of what it counts.

    Args:
        name: of the label.
    """
    return name in PROCESS or name in RESOURCE or name.startswith("otel_scope_")


def equals(name: str, value: str) -> str:
    """A matcher: the label has that value.

    Args:
        name: of the label.
        value: of the label.
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def _selector(metric: Metric, matchers: Sequence[str]) -> str:
    name = bucket_series(metric) if metric.instrument is Instrument.HISTOGRAM else series(metric)
    return f"{name}{{{', '.join(matchers)}}}"


def _counting(metric: Metric, where: Sequence[str]) -> str:
    """The series of a histogram that have all of its values: the last bucket, or the native histogram, which has no bound."""
    names = equals_any("__name__", (bucket_series(metric), series(metric)))
    return f"{{{', '.join((names, equals_any(BOUND, ('', '[+]Inf')), *where))}}}"


def equals_any(name: str, patterns: Sequence[str]) -> str:
    """A matcher of a label that is one of several.

    Args:
        name: of the label.
        patterns: RE2 each, anchored.
    """
    return f'{name}=~"{"|".join(patterns)}"'


def _grouped(metric: Metric, *bounds: str) -> str:
    """The labels by which growth is told apart."""
    return ", ".join((*RESOURCE, PROCESS[0], *map(label, metric.attributes), *bounds))


def one_bound(metric: Metric, where: Sequence[str]) -> Sequence[str]:
    """Matchers of one series of each histogram, which has a sample whenever the others have.

    Args:
        metric: the metric.
        where: matchers of what is asked for.
    """
    return [equals(BOUND, "+Inf"), *where] if metric.instrument is Instrument.HISTOGRAM else where


def _bounds(metric: Metric) -> tuple[str, ...]:
    return (BOUND,) if metric.instrument is Instrument.HISTOGRAM else ()


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
