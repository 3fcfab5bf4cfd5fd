"""How many series there are, by metric, and which labels make them. Counted as Prometheus counts: a bucket is a series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.semconv import Instrument, Metric

BUDGET = 5_000
"""Series that one instance should not exceed: two providers, 42 voices and every metric make fewer. See docs/series.md."""
SUM_AND_COUNT = 2
"""Series that a histogram has beside its buckets."""
LOOKBACK_S = 300.0
"""Seconds for which a series that says nothing more still counts as there, as in Prometheus."""
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in semconv.METRICS}
"""The metrics that are counted."""


@dataclass(frozen=True, slots=True)
class AttributeSet:
    """One attribute set of a metric in one process. labels: as Prometheus names them. buckets: 0 where it has none."""

    metric: Metric
    service: str
    process: tuple[str, ...]
    labels: Mapping[str, str]
    buckets: int
    series: int


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """The series of one metric.

    labels: how many values each label has, those with most first; ``le`` is the buckets. most_per_instance: the series of the
    instance that has most. limit_per_instance: those that no instance can exceed without attributes of its own.
    """

    name: str
    type: str
    series: int
    share: float
    attribute_sets: int
    labels: Mapping[str, int]
    most_per_instance: int
    limit_per_instance: int


@dataclass(frozen=True, slots=True)
class Cardinality:
    """The series of all metrics, dearest metric first. most_per_instance: those of the instance that has most."""

    services: Sequence[str]
    instances: int
    series: int
    most_per_instance: int
    metrics: Sequence[MetricSeries]


def cardinality(attribute_sets: Iterable[AttributeSet]) -> Cardinality:
    """Add up what processes export.

    Args:
        attribute_sets: those of all processes.
    """
    by_metric: dict[str, list[AttributeSet]] = {}
    for each in attribute_sets:
        by_metric.setdefault(each.metric.name, []).append(each)
    whole = [each for of_metric in by_metric.values() for each in of_metric]
    total = sum(each.series for each in whole)
    metrics = [_metric(of_metric, total) for of_metric in by_metric.values()]
    return Cardinality(
        services=sorted({each.service for each in whole}),
        instances=len({each.process for each in whole}),
        series=total,
        most_per_instance=_most_of_one(whole),
        metrics=sorted(metrics, key=lambda each: (-each.series, each.name)),
    )


def limit(metric: Metric) -> int:
    """The most series that a metric can have in one process, without attributes of the host's own.

    Args:
        metric: one of `semconv.METRICS`.
    """
    bounds = len(metric.buckets) + 1  # and the infinite one
    return metric.worst_case * (bounds + SUM_AND_COUNT if metric.instrument is Instrument.HISTOGRAM else 1)


def _metric(attribute_sets: Sequence[AttributeSet], total: int) -> MetricSeries:
    metric = attribute_sets[0].metric
    values: dict[str, set[str]] = {}
    for each in attribute_sets:
        for name, value in each.labels.items():
            values.setdefault(name, set()).add(value)
    counts = {name: len(distinct) for name, distinct in values.items()}
    if buckets := max(each.buckets for each in attribute_sets):
        counts["le"] = buckets
    series = sum(each.series for each in attribute_sets)
    return MetricSeries(
        name=metric.name,
        type=metric.instrument.value,
        series=series,
        share=series / total,
        attribute_sets=len({tuple(sorted(each.labels.items())) for each in attribute_sets}),
        labels=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        most_per_instance=_most_of_one(attribute_sets),
        limit_per_instance=limit(metric),
    )


def _most_of_one(attribute_sets: Iterable[AttributeSet]) -> int:
    by_process: dict[tuple[str, ...], int] = {}
    for each in attribute_sets:
        by_process[each.process] = by_process.get(each.process, 0) + each.series
    return max(by_process.values(), default=0)
