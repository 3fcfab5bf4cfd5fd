"""Timelines: one metric over time, a value for each window."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.history.rows import Growth
from otel_tts.semconv import Attribute, Instrument, Metric


@dataclass(frozen=True, slots=True)
class Point:
    """What a metric said of the window between two moments (seconds since the Unix epoch), in the metric's unit.

    value: of a counter how much it grew, of a histogram the values that came, of a gauge or an up-down counter the last level known
    in the window. None: nothing was said in that window.
    """

    start: float
    end: float
    value: float | Distribution | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The points of one combination of attributes, by their keys: oldest first, without a gap."""

    attributes: Mapping[str, str | bool]
    points: tuple[Point, ...]


By = Sequence[Attribute | str]
"""Attributes of a metric, or their keys."""
Where = Mapping[Attribute | str, Collection[Any]] | Mapping[Attribute, Collection[Any]] | Mapping[str, Collection[Any]]
"""The values that attributes must have; they may be named by their keys."""


_KEYS = {attribute.key for metric in semconv.METRICS for attribute in metric.attributes}


def timelines(metric: Metric, moments: Sequence[float], growths: Sequence[Growth], by: By, where: Where) -> list[Timeline]:
    """The timelines of a metric over the windows between the moments, by what its series did in each of them.

    Args:
        metric: the metric.
        moments: the ends of the intervals, in seconds since the Unix epoch, in ascending order.
        growths: of the metrics, one for each interval.
        by: the attributes whose values are told apart.
        where: the values that attributes must have.

    Raises:
        ValueError: the metric doesn't have one of the attributes.
    """
    keys = [_key(attribute) for attribute in ([by] if isinstance(by, str) else by)]
    wanted = {_key(attribute): allowed for attribute, allowed in where.items()}
    if unknown := [str(key) for key in (*keys, *wanted) if key not in metric.keys]:
        hint = " Attributes of your own are in what `requests()` gives, as `Request.attributes`." if set(unknown) - _KEYS else ""
        raise ValueError(f"{metric.name} has no {', '.join(unknown)}: it has {', '.join(metric.keys) or 'no attributes'}.{hint}")
    values: dict[tuple[str | bool, ...], dict[int, list[float | Distribution]]] = {}
    for number, growth in enumerate(growths):
        for series in growth[metric.name]:
            if all(series.attributes.get(key) in allowed for key, allowed in wanted.items()):
                group = tuple(series.attributes.get(key, "") for key in keys)
                values.setdefault(group, {}).setdefault(number, []).append(series.growth)
    return [
        Timeline(
            dict(zip(keys, group, strict=True)),
            tuple(
                Point(start, end, _together(metric, in_windows.get(number, ())))
                for number, (start, end) in enumerate(pairwise(moments))
            ),
        )
        for group, in_windows in sorted(values.items(), key=lambda item: tuple(map(str, item[0])))
    ]


def _key(attribute: Attribute | str) -> str:
    return attribute.key if isinstance(attribute, Attribute) else attribute


def _together(metric: Metric, values: Sequence[float | Distribution]) -> float | Distribution | None:
    """Combine several series, for example of several processes."""
    if not values:
        return None
    if metric.instrument is Instrument.HISTOGRAM:
        return Distribution.merged(value for value in values if isinstance(value, Distribution))
    numbers = [value for value in values if isinstance(value, float)]
    if metric.instrument is Instrument.GAUGE:
        return sum(numbers) / len(numbers) if metric is semconv.PROVIDER_AVAILABLE else max(numbers)
    return sum(numbers)


def across(metric: Metric, points: Sequence[Point]) -> float | Distribution | None:
    """The value over windows that follow upon one another; None where none of them has one.

    Args:
        metric: the metric.
        points: of one timeline.
    """
    values = [point.value for point in points if point.value is not None]
    if not values:
        return None
    if metric.instrument is Instrument.HISTOGRAM:
        return Distribution.merged(value for value in values if isinstance(value, Distribution))
    if metric.instrument is Instrument.COUNTER:
        return sum(value for value in values if isinstance(value, float))
    return values[-1]
