"""Growth that rules record without the instance, and what proves it complete.

Every half minute, rules record how much each series grew between two half minutes of the clock, added up over the processes of a
service: reading it costs the same for one process as for fifty. Beside it they record a sum of the samples that they saw, how many
series they took for new, and where a process began anew. Whoever reads compares that with the samples that are there now: those that
came late, and rules that were not evaluated, show as a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_tts.promql.naming import bucket_series, label, series
from otel_tts.promql.readings import BOUND, PLACE, PROCESS, RESOURCE, by_metric, equals
from otel_tts.semconv import (
    CLIENT_DURATION,
    CLIENT_FIRST_CHUNK,
    METRICS,
    QUALITY_CLIPPING_RATIO,
    QUALITY_LOUDNESS,
    QUALITY_SILENCE_RATIO,
    QUALITY_SPEAKING_RATE,
    QUALITY_TRAILING_SILENCE,
    Instrument,
    Metric,
)

GRID_S = 30.0
"""Seconds between two moments of the clock up to which growth is recorded."""
DELAY_S = 60.0
"""Seconds that samples have to arrive, before their growth is recorded."""
SILENCE_S = 3600.0
"""Seconds for which a process may be silent and still be known as the same one: after more, all that it has counted counts again."""
GROWN = "service:tts_metrics:growth30s"
"""The series of recorded growth, by ``metric``."""
SEEN = "service:tts_metrics:seen30s"
"""The series of what rules saw, by ``metric`` and by ``seen``: ``samples``, ``new`` series, and ``resets``."""
KEPT = (*RESOURCE, PROCESS[0], *PLACE)
"""The labels of processes that recorded growth still has."""
_NOT_RECORDED = (
    QUALITY_LOUDNESS, QUALITY_SILENCE_RATIO, QUALITY_CLIPPING_RATIO, QUALITY_SPEAKING_RATE, QUALITY_TRAILING_SILENCE,
    CLIENT_DURATION, CLIENT_FIRST_CHUNK,
)  # fmt: skip
"""How audio sounds is most of all series, and looked at seldom; attempts under other names are not read at all."""
RECORDED: Sequence[Metric] = tuple(
    metric
    for metric in METRICS
    if metric.instrument in (Instrument.COUNTER, Instrument.HISTOGRAM) and metric not in _NOT_RECORDED
)
"""The metrics whose growth is recorded."""


def rules() -> Iterator[Mapping[str, Any]]:
    """The recording rules, in the order in which they are evaluated."""
    for metric in RECORDED:
        yield {"record": GROWN, "expr": _on_the_grid(_growth(metric)), "labels": {"metric": metric.name}}
    for metric in RECORDED:
        for seen, expression in _seen(metric):
            yield {"record": SEEN, "expr": _on_the_grid(expression), "labels": {"metric": metric.name, "seen": seen}}


def growth(metrics: Sequence[Metric], window_s: float, where: Sequence[str] = ()) -> str:
    """How much metrics grew, as recorded, by ``metric``, asked `LATER_S` after the end of a window.

    Args:
        metrics: some of `RECORDED`.
        window_s: in seconds, a multiple of `GRID_S`.
        where: matchers of labels in `KEPT`.
    """
    names = "|".join(metric.name.replace(".", "[.]") for metric in metrics)
    named = f'metric=~"{names}"'
    return f"sum_over_time({GROWN}{{{', '.join((named, *where))}}}[{_duration(window_s)}])"


def seen(window_s: float, where: Sequence[str] = ()) -> str:
    """What the rules saw in a window, by ``metric`` and ``seen``, asked `LATER_S` after its end.

    Args:
        window_s: in seconds, a multiple of `GRID_S`.
        where: matchers of labels in `KEPT`.
    """
    return f"sum by (metric, seen) (sum_over_time({SEEN}{{{', '.join(where)}}}[{_duration(window_s)}]))"


LATER_S = DELAY_S + GRID_S - 0.001
"""Seconds after the end of a window at which what was recorded of it is there, and nothing of what comes next: Prometheus counts in
milliseconds."""


def samples(metrics: Sequence[Metric], window_s: float, where: Sequence[str] = ()) -> str:
    """What the samples are in a window, by ``metric``, to compare with what rules saw: see `_samples`.

    Args:
        metrics: the metrics.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return by_metric(metrics, lambda metric: f"sum({_samples(metric, window_s, where)})")


def new(metrics: Sequence[Metric], window_s: float, where: Sequence[str] = ()) -> str:
    """How many series have counted something in a window, and had not in the hour before, by ``metric``.

    Args:
        metrics: the metrics.
        window_s: in seconds.
        where: matchers of what is asked for.
    """
    return by_metric(metrics, lambda metric: f"count({_new(metric, window_s, where)})")


def one(metric: Metric, where: Sequence[str] = ()) -> str:
    """A selector of one series for each process and attribute set, which has a sample whenever the others have.

    Args:
        metric: the metric.
        where: matchers of what is asked for.
    """
    bound = [equals(BOUND, "+Inf")] if metric.instrument is Instrument.HISTOGRAM else []
    return f"{_selected(metric)}{{{', '.join((*bound, *where))}}}"


def is_whole(metric: Metric) -> bool:
    """Whether a counter or histogram counts in whole numbers, whose sums are exact in any order.

    Args:
        metric: the metric.
    """
    return metric.instrument is Instrument.HISTOGRAM or metric.unit.startswith("{")


def _growth(metric: Metric) -> str:
    """A series that is at first lower than it was has begun anew; if it becomes so later on, `_seen` tells."""
    span, earlier = f"{_selected(metric)}[{_duration(GRID_S)}]", f"{_selected(metric)}[1h] offset {_duration(GRID_S)}"
    bound = (BOUND,) if metric.instrument is Instrument.HISTOGRAM else ()
    by = ", ".join((*KEPT, *map(label, metric.attributes), *bound))
    now = f"last_over_time({span})"
    return f"sum by ({by}) ({now} - (last_over_time({earlier}) <= min_over_time({span})) or {now})"


def _seen(metric: Metric) -> Iterator[tuple[str, str]]:
    by, window = ", ".join(KEPT), _duration(GRID_S)
    yield "samples", f"sum by ({by}) ({_samples(metric, GRID_S, ())})"
    yield "new", f"count by ({by}) ({_new(metric, GRID_S, ())})"
    yield "resets", f"sum by ({by}) (resets({_selected(metric)}[{window}]) > 0)"


def _samples(metric: Metric, window_s: float, where: Sequence[str]) -> str:
    """The sum of the samples' values, which any that comes late changes; but not the zero that an engine makes of when a series began.

    Sums of fractions depend on their order, so there it is the number of samples.
    """
    return f"{'sum' if is_whole(metric) else 'count'}_over_time({one(metric, where)}[{_duration(window_s)}])"


def _new(metric: Metric, window_s: float, where: Sequence[str]) -> str:
    selector, window = one(metric, where), _duration(window_s)
    return f"last_over_time({selector}[{window}]) > 0 unless last_over_time({selector}[1h] offset {window}) > 0"


def _on_the_grid(expression: str) -> str:
    """Evaluated at the half minute that is over for `DELAY_S`, whenever the rule itself is evaluated."""
    step = _duration(GRID_S)
    return f"last_over_time(({expression})[{step}:{step}] offset {_duration(DELAY_S)})"


def _selected(metric: Metric) -> str:
    return bucket_series(metric) if metric.instrument is Instrument.HISTOGRAM else series(metric)


def _duration(seconds: float) -> str:
    return f"{round(seconds)}s"
