"""Series, made of what an engine that answers Prometheus's API gives: values by labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isnan, nan

from otel_tts import promql
from otel_tts.distribution import Distribution
from otel_tts.history.engine import Labels, Sample
from otel_tts.history.otlp import Unreadable
from otel_tts.history.rows import Series
from otel_tts.promql import readings
from otel_tts.semconv import Attribute, Instrument, Metric


def labelled_series(metric: Metric, samples: Sequence[Sample], unreadable: Unreadable) -> Iterator[tuple[int, Series]]:
    """Build series from values: one for each, or one for all buckets of a histogram; each with the number of its window.

    Args:
        metric: a counter or histogram.
        samples: of all windows.
        unreadable: counts the values of which no series can be made: somebody else exported them under a name of ours.
    """
    readable = [sample for sample in samples if sample[2] >= 0]  # nothing that is counted becomes less
    unreadable.count += len(samples) - len(readable)
    if metric.instrument is not Instrument.HISTOGRAM:
        yield from ((number, one(metric, labels, value)) for number, labels, value in readable)
        return
    sets: dict[int, tuple[Series, dict[int, dict[float, float]], float]] = {}
    by_set: dict[tuple[tuple[str, str], ...], tuple[Series, dict[int, dict[float, float]]]] = {}
    for number, labels, value in readable:
        if (entry := sets.get(id(labels))) is None:  # all windows of a series have the same labels: these are looked at once
            key = tuple(sorted(item for item in labels.items() if item[0] != readings.BOUND))
            if key not in by_set:
                by_set[key] = one(metric, dict(key), 0.0), {}
            entry = sets[id(labels)] = (*by_set[key], _bound(labels))
        _, windows, bound = entry
        if isnan(bound):
            unreadable.count += 1
            continue
        buckets = windows.setdefault(number, {})
        buckets[bound] = buckets.get(bound, 0.0) + value
    for series, windows in by_set.values():
        for number, buckets in windows.items():
            if inf not in buckets:  # how many values there were is not known
                unreadable.count += len(buckets)
                continue
            grown = Distribution(dict(sorted(buckets.items())))
            yield number, Series(series.attributes, grown, series.service, series.version)


def one(metric: Metric, labels: Labels, value: float | Distribution) -> Series:
    """One series.

    Args:
        metric: its metric.
        labels: its labels, as Prometheus knows them.
        value: how much it grew, or its level.
    """
    attributes = {
        attribute.key: _value(attribute, labels[name])
        for attribute in metric.attributes
        if labels.get(name := promql.label(attribute))
    }
    return Series(attributes, value, service_of(labels), labels.get("service_version", ""))


def service_of(labels: Labels) -> str:
    """The name of the service that a series is of.

    Args:
        labels: of the series.
    """
    return labels.get("service_name") or labels.get("job", "").rpartition("/")[2]


def _bound(labels: Labels) -> float:
    """The bound of a bucket; NaN for what is none."""
    try:
        return float(labels[readings.BOUND])
    except (KeyError, ValueError):
        return nan


def _value(attribute: Attribute, text: str) -> str | bool:
    return text == "true" if attribute.type == "boolean" else text
