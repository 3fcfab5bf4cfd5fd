"""How much metrics grew between moments, from local files.

A line of a metrics file holds every series of its process, cumulative, so two lines tell what happened between them: the last
that were written before either moment. Only these are decoded, and of them only the metrics asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import msgspec

from otel_tts import files, semconv
from otel_tts.distribution import Distribution, growth
from otel_tts.files import Partition
from otel_tts.history.lines import Lines
from otel_tts.history.native import Unbounded
from otel_tts.history.otlp import FAULTS, Unreadable, attributes, items, number, whole
from otel_tts.history.partitions import partitions, readable
from otel_tts.history.rows import Growth, Series
from otel_tts.semconv import Instrument, Metric
from otel_tts.settings import Selection

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


def began(directory: Path, lines: Lines) -> float | None:
    """The first moment that there are metrics of, in seconds since the Unix epoch; None without any.

    Args:
        directory: the folder.
        lines: those known from before, and whose series count.
    """
    names = {metric.name for metric in semconv.METRICS}
    earliest = math.inf
    for partition in partitions(directory, "metrics"):
        if partition.start > earliest + files.HOUR:
            break  # files of an hour are in the order of their writers' names, which says nothing of time
        earliest = min(earliest, _begin(partition, names, lines))
    return earliest if earliest < math.inf else None


def _begin(partition: Partition, names: Collection[str], lines: Lines) -> float:
    """The first moment that a file has metrics of, in seconds since the Unix epoch; infinite where it has none."""
    for _, line in readable(partition.path):
        readings = _snapshot(line, names, lines) or {}
        if since := [reading.since for reading in readings.values() if reading.since]:  # 0 is OTLP's word for unknown
            return min(since) / 1e9
    return math.inf


def last_seen(directory: Path, start: float, end: float, lines: Lines, metric: Metric) -> Mapping[str, float]:
    """The moment of the newest line with requests of each service between two moments, by its name.

    Args:
        directory: the folder.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        lines: reads the files.
        metric: by which services are known.
    """
    moments: dict[str, float] = {}
    for time, snapshot in newest_states(directory, start, end, {metric.name}, lines):
        for (_, service, _), _, _ in snapshot:
            moments[service] = max(time, moments.get(service, time))
    return moments


def newest_states(
    directory: Path, start: float, end: float, names: Collection[str], lines: Lines
) -> Iterator[tuple[float, Snapshot]]:
    """The newest line of each writer between two moments: its time, and the state of its series.

    Args:
        directory: the folder.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        names: of the metrics.
        lines: reads the files.
    """
    by_writer = sorted(partitions(directory, "metrics", start, end), key=lambda partition: partition.writer)
    for _, group in groupby(by_writer, key=lambda partition: partition.writer):
        for time, line in lines.backwards(sorted(group), end):
            if time < start:
                break
            if (snapshot := _snapshot(line, names, lines)) is not None:
                yield time, snapshot
                break


def growths(
    directory: Path,
    moments: Sequence[float],
    interval_s: float,
    metrics: Collection[Metric] = semconv.METRICS,
    lines: Lines | None = None,
) -> Sequence[Growth]:
    """How much the metrics' series grew between each two of the moments, which are in order (seconds since the Unix epoch).

    Of gauges and up-down counters it is the last level. A process that wrote nothing between two moments has no series there.

    ``interval_s`` is the number of seconds between exports; ``lines`` are those known from before. A series that is not there at the
    beginning counted from 0, unless it is so much older that its lines must have been deleted meanwhile: then what is known of it
    begins with the first line left.

    Args:
        directory: the folder.
        moments: the ends of the intervals, in seconds since the Unix epoch, in ascending order.
        interval_s: between two exports, in seconds.
        metrics: the metrics.
        lines: reads the files.
    """
    lines = lines or Lines()
    names = {metric.name for metric in metrics}
    results: list[dict[str, list[Series]]] = [{name: [] for name in names} for _ in pairwise(moments)]
    by_writer = sorted(partitions(directory, "metrics", until=moments[-1]), key=lambda partition: partition.writer)
    for _, group in groupby(by_writer, key=lambda partition: partition.writer):
        written = sorted(group)
        if written[-1].end <= moments[0]:
            continue  # nothing has changed since
        states = pairwise(_states(lines, written, moments, interval_s, names))
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
    lines: Lines, written: Sequence[Partition], moments: Sequence[float], interval_s: float, names: Collection[str]
) -> list[tuple[float, Snapshot]]:
    """The state of all series of one writer at each moment, with the time at which it was written."""
    latest_first: list[tuple[float, Snapshot]] = []  # the latest first
    for moment in reversed(moments):
        if latest_first and latest_first[-1][0] <= moment:
            latest_first.append(latest_first[-1])  # nothing was written between this moment and the next
        else:
            states = (
                (time, s) for time, line in lines.backwards(written, moment) if (s := _snapshot(line, names, lines)) is not None
            )
            latest_first.append(next(states, (-math.inf, {})))
    if latest_first[-1][0] == -math.inf:
        first = _first(written, names, lines)
        for number, moment in enumerate(reversed(moments)):
            if latest_first[number][0] == -math.inf:
                latest_first[number] = -math.inf, _settled(first, moment - 2 * interval_s)
    return latest_first[::-1]


def _first(written: Sequence[Partition], names: Collection[str], lines: Lines) -> Snapshot:
    """The earliest state in the files that are left."""
    for partition in written:
        for _, line in readable(partition.path):
            if (snapshot := _snapshot(line, names, lines)) is not None:
                return snapshot
    return {}


def _settled(first: Snapshot, moment: float) -> Snapshot:
    """The part of the earliest state that was counted before ``moment``, whose own files were deleted."""
    return {key: reading for key, reading in first.items() if reading.since is not None and reading.since < moment * 1e9}


class _EncodedMetric(msgspec.Struct):
    name: str
    sum: msgspec.Raw = _NOTHING
    histogram: msgspec.Raw = _NOTHING
    gauge: msgspec.Raw = _NOTHING
    exponentialHistogram: msgspec.Raw = _NOTHING  # noqa: N815


class _ScopeMetrics(msgspec.Struct):
    scope: dict[str, Any] = {}
    metrics: list[_EncodedMetric] = []


class _ResourceMetrics(msgspec.Struct):
    resource: dict[str, Any] = {}
    scopeMetrics: list[_ScopeMetrics] = []  # noqa: N815 - OTLP/JSON's own names


class _MetricsExport(msgspec.Struct):
    resourceMetrics: list[_ResourceMetrics] = []  # noqa: N815


_export = msgspec.json.Decoder(_MetricsExport)
_HISTOGRAMS = {metric.name for metric in semconv.METRICS if metric.instrument is Instrument.HISTOGRAM}


def _snapshot(line: bytes, names: Collection[str], lines: Lines) -> Snapshot | None:
    """The series with these names on a line, and no others; None when the line cannot be read. It is decoded once."""
    key = hash(line), len(line), frozenset(names)
    kept: Snapshot | None = lines.decoded.get(key)
    if kept is not None:
        return kept
    faults = Unreadable()
    read = files.decode(line, lambda export: dict(_points(_decoded(export, names, lines.selection), faults)))
    if read is None:  # something in it is not as it should be: the rest may be
        faults = Unreadable()
        read = files.decode(line, lambda export: dict(_salvaged(export, names, faults, lines.selection)))
    lines.note(line, faults.count)
    if read is not None:
        lines.decoded.keep(key, read)
    return read


_Data = tuple[Process, str, dict[str, Any], bool]
"""The process, the metric's name, its data, and whether it counts."""
_EXPONENTIAL = "exponentialHistogram"
_KINDS = ("sum", "histogram", "gauge", _EXPONENTIAL)


def _decoded(export: bytes, names: Collection[str], selection: Selection) -> Iterator[_Data]:
    for resource in _export.decode(export).resourceMetrics:
        process = _process(resource.resource, Unreadable())
        for scope in resource.scopeMetrics if _is_selected(resource.resource, selection) else ():
            for metric in scope.metrics if scope.scope.get("name") == semconv.SCOPE else ():
                if metric.name in names:
                    kinds = (metric.sum, metric.histogram, metric.gauge, metric.exponentialHistogram, _EMPTY)
                    decoded = msgspec.json.decode(next(raw for raw in kinds if raw is not _NOTHING), type=dict[str, Any])
                    if is_exponential := metric.exponentialHistogram is not _NOTHING:
                        decoded[_EXPONENTIAL] = True
                    counts = metric.histogram is not _NOTHING or is_exponential
                    yield process, metric.name, decoded, counts or bool(decoded.get("isMonotonic"))


def _salvaged(
    export: bytes, names: Collection[str], unreadable: Unreadable, selection: Selection
) -> Iterator[tuple[SeriesKey, Reading]]:
    """Decode field by field, more slowly, and keep what can be read. Raises ValueError when it is not JSON."""
    return _points(_loose(json.loads(export), names, unreadable, selection), unreadable)


def _loose(export: Any, names: Collection[str], unreadable: Unreadable, selection: Selection) -> Iterator[_Data]:
    for resource in items(export, "resourceMetrics", unreadable):
        process = _process(resource.get("resource", {}), unreadable)
        if not _is_selected(resource.get("resource", {}), selection):
            continue
        for scope in items(resource, "scopeMetrics", unreadable):
            described = scope.get("scope")
            if isinstance(described, Mapping) and described.get("name") == semconv.SCOPE:
                for metric in items(scope, "metrics", unreadable):
                    if isinstance(name := metric.get("name"), str) and name in names:
                        data: Any = next((metric[kind] for kind in _KINDS if kind in metric), {})
                        if isinstance(data, dict):
                            if is_exponential := _EXPONENTIAL in metric:
                                data[_EXPONENTIAL] = True
                            yield process, name, data, is_exponential or "histogram" in metric or bool(data.get("isMonotonic"))
                        else:
                            unreadable.count += 1


def _is_selected(resource: Any, selection: Selection) -> bool:
    return not selection or selection.holds(attributes(resource, Unreadable()))


def _process(resource: Any, unreadable: Unreadable) -> Process:
    resource_attributes = attributes(resource, unreadable)
    instance, name, version = (str(resource_attributes.get(f"service.{key}", "")) for key in ("instance.id", "name", "version"))
    return instance, name, version


def _points(metrics: Iterator[_Data], unreadable: Unreadable) -> Iterator[tuple[SeriesKey, Reading]]:
    for process, name, data, counts in metrics:
        for point in items(data, "dataPoints", unreadable):
            try:
                since = whole(point.get("startTimeUnixNano", 0)) if counts else None
                if _EXPONENTIAL in data:
                    unbounded = Unbounded(whole(point["count"]), "A local metrics file", f"{name} (of {process[1]})")
                    value: float | Distribution = unbounded
                else:
                    value = _value(point, histogram=name in _HISTOGRAMS)
                reading = Reading(since, value)
                labels = attributes(point, unreadable)
                yield (process, name, frozenset(labels.items())), reading
            except FAULTS:
                unreadable.count += 1


def _value(point: Mapping[str, Any], *, histogram: bool) -> float | Distribution:
    if histogram:
        counts = [whole(count) for count in point["bucketCounts"]]
        bounds = [number(bound) for bound in point.get("explicitBounds", ())]
        if min(counts) < 0 or sorted(bounds) != bounds:
            raise ValueError("no histogram")
        return Distribution.from_otlp(bounds, counts)
    return number(point["asDouble"]) if "asDouble" in point else float(whole(point.get("asInt", 0)))
