"""How much metrics grew between moments, from local files.

A line of a metrics file holds every series of its process, cumulative, so two lines tell what happened between them: the last
that were written before either moment. Files are read from their end, and only the lines needed are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from otel_tts import semconv
from otel_tts.history.distribution import Distribution
from otel_tts.history.otlp import attributes
from otel_tts.history.rows import Growth, Series
from otel_tts.local import files
from otel_tts.local.files import Partition

_TIME = re.compile(rb'"timeUnixNano":"(\d+)"')  # that of the first point; all points of a line have the same
_REQUEST = b'{"resourceMetrics":'

Process = tuple[str, str, str]
"""A process's service.instance.id, service.name and service.version."""
SeriesKey = tuple[Process, str, frozenset[tuple[str, str | bool]]]
"""The process, the metric's name, the attributes."""


@dataclass(frozen=True, slots=True)
class Point:
    """The cumulative state of a series, and the nanosecond since which it counts."""

    since: int
    value: float | Distribution


Snapshot = Mapping[SeriesKey, Point]


def began(directory: Path) -> float | None:
    """The first moment that there are metrics of, in seconds since the Unix epoch; None without any."""
    for partition in files.partitions(directory, "metrics"):
        for _, line in files.lines(partition.path):
            if points := _snapshot(line):
                return min(point.since for point in points.values()) / 1e9
    return None


def growths(
    directory: Path, moments: Sequence[float], interval: float, spoilt: Callable[[bytes], object] = lambda _: None
) -> Sequence[Growth]:
    """How much every series grew between each two of the moments, which are in order (seconds since the Unix epoch).

    ``interval`` is the number of seconds between exports. ``spoilt`` is told each line that cannot be read. A series that is not
    there at the beginning counted from 0, unless it is so much older that its lines must have been deleted meanwhile: then what is
    known of it begins with the first line left.
    """
    results: list[dict[str, list[Series]]] = [{} for _ in pairwise(moments)]
    partitions = files.partitions(directory, "metrics", until=moments[-1])
    for _, group in groupby(sorted(partitions, key=lambda p: p.writer), key=lambda p: p.writer):
        written = sorted(group)
        if written[-1].end <= moments[0]:
            continue  # nothing has changed since
        for result, (before, after) in zip(results, pairwise(_snapshots(written, moments, interval, spoilt)), strict=True):
            for key, point in after.items():
                (_, service, version), name, labels = key
                series = Series(dict(labels), _growth(before.get(key), point), service, version)
                result.setdefault(name, []).append(series)
    return results


def _growth(before: Point | None, after: Point) -> float | Distribution:
    if before is None or before.since != after.since:
        return after.value  # begun, or begun again, meanwhile
    if isinstance(after.value, Distribution) and isinstance(before.value, Distribution):
        return after.value.since(before.value) if after.value.count >= before.value.count else after.value
    if isinstance(after.value, Distribution) or isinstance(before.value, Distribution):
        return after.value
    return after.value - before.value if after.value >= before.value else after.value


def _snapshots(
    written: Sequence[Partition], moments: Sequence[float], interval: float, spoilt: Callable[[bytes], object]
) -> list[Snapshot]:
    """The state of all series of one writer at each moment."""
    found: list[Snapshot] = []  # the latest first
    pending = list(moments)
    line = b""
    for time, line in _lines_backwards(written, spoilt):
        if time <= pending[-1] and (snapshot := _snapshot(line)):
            while pending and time <= pending[-1]:
                found.append(snapshot)
                pending.pop()
            if not pending:
                break
    first = _snapshot(line)
    for moment in reversed(pending):  # nothing is left from then
        settled = (moment - 2 * interval) * 1e9
        found.append({key: point for key, point in first.items() if point.since < settled})
    return found[::-1]


def _lines_backwards(written: Sequence[Partition], spoilt: Callable[[bytes], object]) -> Iterator[tuple[float, bytes]]:
    """The lines of one writer, the last first, each with its time."""
    for partition in reversed(written):
        for line in files.lines_backwards(partition.path):
            if time := _TIME.search(line, line.rfind(_REQUEST)):  # what a crash left may stand in front
                yield int(time[1]) / 1e9, line
            elif files.parse(line) is None:
                spoilt(line)


def _snapshot(line: bytes) -> Snapshot:
    """All cumulative series of ours on a line; none when the line is torn."""
    points: dict[SeriesKey, Point] = {}
    for resource in (files.parse(line) or {}).get("resourceMetrics", ()):
        said = attributes(resource.get("resource", {}))
        process = (
            str(said.get("service.instance.id", "")),
            str(said.get("service.name", "")),
            str(said.get("service.version", "")),
        )
        for scope in resource.get("scopeMetrics", ()):
            if scope.get("scope", {}).get("name") != semconv.SCOPE:
                continue
            for metric in scope.get("metrics", ()):
                for point in metric.get("sum", metric.get("histogram", {})).get("dataPoints", ()):
                    key = process, metric["name"], frozenset(attributes(point).items())
                    points[key] = Point(int(point.get("startTimeUnixNano", 0)), _value(point))
    return points


def _value(point: Mapping[str, Any]) -> float | Distribution:
    if "bucketCounts" in point:
        return Distribution.from_otlp(point.get("explicitBounds", ()), [int(count) for count in point["bucketCounts"]])
    return float(point.get("asDouble", point.get("asInt", 0)))
