"""What readers ask of native histograms: one series in place of one for each bucket, a count and a sum.

Whoever has its buckets as series, too, is left out: `otel_tts.promql.readings` asks for those.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_tts.promql.naming import bucket_series, label, series
from otel_tts.promql.readings import BOUND, PROCESS, RESOURCE, equals
from otel_tts.semconv import Metric

_PROCESS = ", ".join(PROCESS)


def growth(
    metric: Metric, window_s: float, silence_s: float, where: Sequence[str] = (), without: Sequence[Sequence[str]] = ()
) -> str:
    """How much each histogram grew in the last ``window_s`` seconds, by service and attributes: see `readings.growth`.

    Args:
        metric: the histogram.
        window_s: in seconds.
        silence_s: for how long before the window a series may have exported nothing, in seconds.
        where: matchers of what is asked for.
        without: matchers of processes that are left out.
    """
    now = f"last_over_time({samples(metric, window_s, where)})"
    before = f"last_over_time({samples(metric, silence_s, where)} offset {_duration(window_s)})"
    grown = f"{now} - {before} and histogram_count({now}) - histogram_count({before}) >= 0 or {now}"
    others = " or ".join(
        [_buckets(metric, window_s, where), *(f"last_over_time({samples(metric, window_s, each)})" for each in without)]
    )
    by = ", ".join((*RESOURCE, PROCESS[0], *map(label, metric.attributes)))
    return f"sum by ({by}) (({grown}) unless on ({_PROCESS}) group by ({_PROCESS}) ({others}))"


def restarts(metric: Metric, window_s: float, silence_s: float, step_s: float | None = None, where: Sequence[str] = ()) -> str:
    """The processes that began to count anew: see `readings.restarts`.

    Args:
        metric: the histogram.
        window_s: in seconds.
        silence_s: for how long before the window a series may have exported nothing, in seconds.
        step_s: in seconds, fewer than between two exports; None: at once.
        where: matchers of what is asked for.
    """
    since_s = window_s + silence_s
    stepped = f"histogram_count({_selector(metric, where)})[{_duration(since_s)}:{_duration(step_s)}]" if step_s else ""
    began = f"resets({stepped or samples(metric, since_s, where)}) > 0"
    return f"group by ({_PROCESS}) (({began}) unless on ({_PROCESS}) {_buckets(metric, window_s, where)})"


def samples(metric: Metric, window_s: float, matchers: Sequence[str] = ()) -> str:
    """All that was exported of a histogram in the last ``window_s`` seconds.

    Args:
        metric: the histogram.
        window_s: in seconds.
        matchers: of labels, in PromQL.
    """
    return f"{_selector(metric, matchers)}[{_duration(window_s)}]"


def counted_in_two_ways(metric: Metric, window_s: float, where: Sequence[str] = ()) -> str:
    """The processes of which the store has both kinds, and another number of values by each at the end: it changed from one to the other.

    Args:
        metric: the histogram.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    native = f"sum by ({_PROCESS}) (histogram_count(last_over_time({samples(metric, window_s, where)})))"
    return f"{native} != sum by ({_PROCESS}) ({_buckets(metric, window_s, where)})"


def _buckets(metric: Metric, window_s: float, where: Sequence[str]) -> str:
    matchers = ", ".join([equals(BOUND, "+Inf"), *where])
    return f"last_over_time({bucket_series(metric)}{{{matchers}}}[{_duration(window_s)}])"


def _selector(metric: Metric, matchers: Sequence[str]) -> str:
    return f"{series(metric)}{{{', '.join(matchers)}}}"


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
