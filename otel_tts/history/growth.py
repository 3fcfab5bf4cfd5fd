"""How much metrics grew between moments, from local files.

A line of a metrics file holds every series of its process, cumulative, so two lines tell what happened between them: the last
that were written before either moment. Only these are decoded, and of them only the metrics asked for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import msgspec

from otel_tts import files, semconv
from otel_tts.distribution import Distribution, growth
from otel_tts.files import Partition
from otel_tts.history.lines import Lines
from otel_tts.history.otlp import attributes
from otel_tts.history.rows import Growth, Series
from otel_tts.semconv import Metric

_NOTHING = msgspec.Raw()
_EMPTY = msgspec.Raw(b"{}")

Process = tuple[str, str, str]
"""A process's service.instance.id, service.name and service.version."""
SeriesKey = tuple[Process, str, frozenset[tuple[str, str | bool]]]
"""The process, the metric's name, the attributes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of a series at one moment, and the nanosecond since which it counts; None when it counts nothing, but has a level."""

    since: int | None
    value: float | Distribution


Snapshot = Mapping[SeriesKey, Reading]


def began(directory: Path) -> float | None:
    """The first moment that there are metrics of, in seconds since the Unix epoch; None without any."""
    for partition in files.partitions(directory, "metrics"):
        for _, line in files.lines(partition.path):
            readings = _snapshot(line, {metric.name for metric in semconv.METRICS}) or {}
            if since := [reading.since for reading in readings.values() if reading.since is not None]:
                return min(since) / 1e9
    return None


def growths(
    directory: Path,
    moments: Sequence[float],
    interval: float,
    metrics: Collection[Metric] = semconv.METRICS,
    lines: Lines | None = None,
) -> Sequence[Growth]:
    """How much the metrics' series grew between each two of the moments, which are in order (seconds since the Unix epoch).

    Of gauges and up-down counters it is the last level. A process that wrote nothing between two moments has no series there.

    ``interval`` is the number of seconds between exports; ``lines`` are those known from before. A series that is not there at the
    beginning counted from 0, unless it is so much older that its lines must have been deleted meanwhile: then what is known of it
    begins with the first line left.
    """
    lines = lines or Lines()
    names = {metric.name for metric in metrics}
    results: list[dict[str, list[Series]]] = [{name: [] for name in names} for _ in pairwise(moments)]
    partitions = files.partitions(directory, "metrics", until=moments[-1])
    for _, group in groupby(sorted(partitions, key=lambda p: p.writer), key=lambda p: p.writer):
        written = sorted(group)
        if written[-1].end <= moments[0]:
            continue  # nothing has changed since
        states = pairwise(_states(lines, written, moments, interval, names))
        for start, result, ((_, before), (time, after)) in zip(moments, results, states, strict=False):
            for key, reading in after.items() if time > start else ():
                (_, service, version), name, labels = key
                result[name].append(Series(dict(labels), _growth(before.get(key), reading), service, version))
    return results


def _growth(before: Reading | None, after: Reading) -> float | Distribution:
    if before is None or after.since is None or before.since != after.since:
        return after.value  # begun, or begun again, meanwhile
    if isinstance(after.value, Distribution):
        return growth(before.value, after.value) if isinstance(before.value, Distribution) else after.value
    return after.value if isinstance(before.value, Distribution) else growth(before.value, after.value)


def _states(
    lines: Lines, written: Sequence[Partition], moments: Sequence[float], interval: float, names: Collection[str]
) -> list[tuple[float, Snapshot]]:
    """The state of all series of one writer at each moment, with the time at which it was written."""
    found: list[tuple[float, Snapshot]] = []  # the latest first
    for moment in reversed(moments):
        if found and found[-1][0] <= moment:
            found.append(found[-1])  # nothing was written between this moment and the next
        else:
            readable = ((time, s) for time, line in lines.backwards(written, moment) if (s := _snapshot(line, names)) is not None)
            found.append(next(readable, (-math.inf, {})))
    if found[-1][0] == -math.inf:
        first = _first(written, names)
        for number, moment in enumerate(reversed(moments)):
            if found[number][0] == -math.inf:
                found[number] = -math.inf, _settled(first, moment - 2 * interval)
    return found[::-1]


def _first(written: Sequence[Partition], names: Collection[str]) -> Snapshot:
    """The first state that is left."""
    for partition in written:
        for _, line in files.lines(partition.path):
            if (snapshot := _snapshot(line, names)) is not None:
                return snapshot
    return {}


def _settled(first: Snapshot, moment: float) -> Snapshot:
    """Of the first state that is left, what was counted before a moment from which nothing is left."""
    return {key: reading for key, reading in first.items() if reading.since is not None and reading.since < moment * 1e9}


class _Metric(msgspec.Struct):
    name: str
    sum: msgspec.Raw = _NOTHING
    histogram: msgspec.Raw = _NOTHING
    gauge: msgspec.Raw = _NOTHING


class _Scope(msgspec.Struct):
    scope: dict[str, Any] = {}
    metrics: list[_Metric] = []


class _Resource(msgspec.Struct):
    resource: dict[str, Any] = {}
    scopeMetrics: list[_Scope] = []  # noqa: N815 - OTLP/JSON's own names


class _Export(msgspec.Struct):
    resourceMetrics: list[_Resource] = []  # noqa: N815


_export = msgspec.json.Decoder(_Export)


def _snapshot(line: bytes, names: Collection[str]) -> Snapshot | None:
    """The series of our metrics of those names on a line; None when the line cannot be read. Others are not decoded."""
    return files.decode(line, lambda export: _readings(export, names))


def _readings(export: bytes, names: Collection[str]) -> Snapshot:
    readings: dict[SeriesKey, Reading] = {}
    for resource in _export.decode(export).resourceMetrics:
        said = attributes(resource.resource)
        process = (
            str(said.get("service.instance.id", "")),
            str(said.get("service.name", "")),
            str(said.get("service.version", "")),
        )
        for scope in resource.scopeMetrics:
            for metric in scope.metrics if scope.scope.get("name") == semconv.SCOPE else ():
                if metric.name not in names:
                    continue
                data = next(raw for raw in (metric.sum, metric.histogram, metric.gauge, _EMPTY) if raw is not _NOTHING)
                decoded = msgspec.json.decode(data)
                counts = metric.histogram is not _NOTHING or decoded.get("isMonotonic", False)
                for point in decoded.get("dataPoints", ()):
                    key = process, metric.name, frozenset(attributes(point).items())
                    readings[key] = Reading(int(point.get("startTimeUnixNano", 0)) if counts else None, _value(point))
    return readings


def _value(point: Mapping[str, Any]) -> float | Distribution:
    if "bucketCounts" in point:
        return Distribution.from_otlp(point.get("explicitBounds", ()), [int(count) for count in point["bucketCounts"]])
    return float(point.get("asDouble", point.get("asInt", 0)))
