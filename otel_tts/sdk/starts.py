"""Start timestamps of asynchronous sums.

The SDK sets the start of a new series to the time of its first observation, which is also the time of its first export. A backend that
uses the start sees no growth in that value, so the first failure of its kind would be missing. The specification asks for the time of
the collection before: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#start-timestamps
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from opentelemetry.sdk.metrics.export import Metric, MetricsData, NumberDataPoint, Sum


class Starts:
    """Correction of the start timestamps of one reader's exports, in the order in which they were collected."""

    def __init__(self) -> None:
        self._before = time.time_ns()
        self._corrected: dict[int, int] = {}
        """The time of the collection before, by the start that the SDK has set."""

    def correct(self, data: MetricsData | None, began: int) -> MetricsData | None:
        """Return ``data`` with correct starts; None without data. began: start of its collection, nanoseconds since the Unix epoch."""
        before, self._before = self._before, began
        if data is None:
            return None
        starts = {point.start_time_unix_nano for point in _points(data)}
        new = {start: before for start in starts if start >= began}
        self._corrected = {start: was for start, was in self._corrected.items() if start in starts} | new
        resources = [
            replace(
                resource, scope_metrics=[replace(s, metrics=[self._metric(m) for m in s.metrics]) for s in resource.scope_metrics]
            )
            for resource in data.resource_metrics
        ]
        return replace(data, resource_metrics=resources)

    def _metric(self, metric: Metric) -> Metric:
        count = _count(metric)
        if count is None:
            return metric
        return replace(metric, data=replace(count, data_points=[self._point(point) for point in count.data_points]))

    def _point(self, point: NumberDataPoint) -> NumberDataPoint:
        start = self._corrected.get(point.start_time_unix_nano)
        return point if start is None else replace(point, start_time_unix_nano=start)


def _points(data: MetricsData) -> Iterator[NumberDataPoint]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if count := _count(metric):
                    yield from count.data_points


def _count(metric: Metric) -> Sum | None:
    """Return the data of a sum that started at 0. An up-down sum may have had any value before its first observation."""
    return metric.data if isinstance(metric.data, Sum) and metric.data.is_monotonic else None
