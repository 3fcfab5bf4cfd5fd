"""Lies that a service's metrics may tell: every small change of what was truly scraped, generated from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otel_tts import promql
from otel_tts.commands.verify.scrape import Labels, Scrape
from otel_tts.semconv import METRICS, Instrument, Metric

Values = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True)
class Lie:
    """A changed scrape. what: of the metric, for people; aspect: what it is about."""

    metric: Metric
    what: str
    aspect: str
    scrape: Scrape


def lies(true: Scrape, before: Scrape) -> Iterator[Lie]:
    """Every lie of one kind about every series that something was added to since ``before``, or that is a state."""
    for metric in METRICS:
        if metric.instrument is Instrument.HISTOGRAM:
            yield from _of_histogram(metric, true, before)
        else:
            yield from _of_value(metric, true, before)


def _of_value(metric: Metric, true: Scrape, before: Scrape) -> Iterator[Lie]:
    name = promql.series(metric)
    for labels, value in _series(name, true):
        if metric.instrument is Instrument.COUNTER and before.value(name, labels) == value:
            continue
        for what, other in (("one more", value + 1), ("one less", value - 1), ("tenfold", value * 10), ("a tenth", value / 10)):
            if other != value:
                yield Lie(metric, f"{what} {_shown(labels)}", "value", Scrape({**true.values, (name, labels): other}))
        yield Lie(metric, f"lost {_shown(labels)}", "value", _without(true, {(name, labels)}))
        for key, _ in labels:
            yield _renamed(metric, true, (name,), labels, key)


def _of_histogram(metric: Metric, true: Scrape, before: Scrape) -> Iterator[Lie]:
    count, total, bucket = promql.count_series(metric), promql.sum_series(metric), promql.bucket_series(metric)
    for labels, value in _series(count, true):
        if before.value(count, labels) == value:
            continue
        shown = _shown(labels)
        members = {key for key in true.values if key[0] in (count, total, bucket) and _is_of(key[1], labels)}
        for factor in (10, 0.1, 0, -1):
            if true.value(total, labels):
                changed = {**true.values, (total, labels): true.value(total, labels) * factor}
                yield Lie(metric, f"sum x{factor:g} {shown}", "sum", Scrape(changed))
        for more in (1, -1):
            changed = dict(true.values)
            for name, label_pairs in members:
                if name == count or (name == bucket and dict(label_pairs)["le"] == "+Inf"):
                    changed[name, label_pairs] += more
            yield Lie(metric, f"count {more:+d} with its last bucket {shown}", "count", Scrape(changed))
        yield Lie(metric, f"lost {shown}", "count", _without(true, members))
        yield Lie(metric, f"buckets lost {shown}", "buckets", _without(true, {key for key in members if key[0] == bucket}))
        changed = dict(true.values)
        for name, label_pairs in members:
            if name == bucket and not math.isinf(float(dict(label_pairs)["le"])):
                changed[name, label_pairs] = 0.0
        yield Lie(metric, f"all in the last bucket {shown}", "buckets", Scrape(changed))
        for key, _ in labels:
            yield _renamed(metric, true, (count, total, bucket), labels, key)


def _renamed(metric: Metric, true: Scrape, names: tuple[str, ...], labels: Labels, key: str) -> Lie:
    """The series under another value of one label, merged with what stands there."""
    values = sorted({dict(label_pairs)[key] for name, label_pairs in true.values if name in names and key in dict(label_pairs)})
    old = dict(labels)[key]
    new = next((value for value in values if value != old), "somebody-else")
    changed: dict[tuple[str, Labels], float] = {}
    for (name, label_pairs), value in true.values.items():
        place = (
            frozenset((k, new if k == key else v) for k, v in label_pairs)
            if name in names and _is_of(label_pairs, labels)
            else label_pairs
        )
        changed[name, place] = changed.get((name, place), 0.0) + value
    return Lie(metric, f"{key} {new} for {_shown(labels)}", key, Scrape(changed))


def _is_of(labels: Labels, series: Labels) -> bool:
    return frozenset((key, value) for key, value in labels if key != "le") == series


def _series(name: str, scrape: Scrape) -> list[tuple[Labels, float]]:
    return [(labels, value) for (other, labels), value in scrape.values.items() if other == name]


def _without(scrape: Scrape, members: set[tuple[str, Labels]]) -> Scrape:
    return Scrape({key: value for key, value in scrape.values.items() if key not in members})


def _shown(labels: Labels) -> str:
    return " ".join(value for _, value in sorted(labels))
