"""Figures from metrics, computed in the same way for every source from how much series grew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from itertools import pairwise

from otel_tts.history import rows, services
from otel_tts.history.rows import Growth, Row
from otel_tts.history.services import Service
from otel_tts.history.timelines import By, Timeline, Where, timelines
from otel_tts.history.windows import boundaries
from otel_tts.semconv import Metric


class Counted(ABC):
    """The half of a `History` that comes from metrics. ``interval_s`` is the number of seconds between exports of metrics."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s

    @property
    def interval(self) -> float:
        """See `History.interval`."""
        return self._interval_s

    @abstractmethod
    def growths(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth]:
        """How much the metrics' series grew between each two of the moments: seconds since the Unix epoch, in order, evenly spaced.

        Of counters and histograms it is the growth, of others the last level. A series that said nothing meanwhile is not there.

        Args:
            moments: the ends of the intervals, in seconds since the Unix epoch, in ascending order.
            metrics: the metrics.
        """

    def aggregates(
        self,
        start: float,
        end: float,
        step: float | None = None,
        by: Collection[str] = (),
        *,
        service: str | None = None,
        version: str | None = None,
    ) -> list[Row]:
        """See `History.aggregates`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            step: the width of an interval in seconds; None: one for the whole time.
            by: `provider`, `version`, `stream` and the like: see `History.aggregates`.
            service: the name of the service; None: every service.
            version: its version; None: every version.
        """
        split = rows.dimension(by)
        moments = boundaries(start, end, step, self._interval_s)
        return [
            row
            for (earlier, later), growth in zip(pairwise(moments), self.growths(moments, rows.METRICS), strict=True)
            for row in rows.rows(services.of_service(growth, service, version), earlier, later, split)
        ]

    def totals(self, start: float, end: float) -> Row:
        """See `History.totals`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        return self.aggregates(start, end)[0]

    def services(self, start: float, end: float, *, version: str | None = None) -> list[Service]:
        """See `History.services`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            version: its version; None: every version.
        """
        return services.services(services.of_service(self.growths([start, end], services.METRICS)[0], version=version))

    def series(
        self,
        metric: Metric,
        start: float,
        end: float,
        step: float,
        by: By = (),
        *,
        service: str | None = None,
        where: Where | None = None,
    ) -> list[Timeline]:
        """See `History.series`.

        Args:
            metric: the metric.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            step: the width of an interval, in seconds.
            by: the attributes whose values are told apart, or their keys.
            service: the name of the service; None: every service.
            where: the values that attributes must have; None: any.
        """
        moments = boundaries(start, end, step, self._interval_s)
        growths = [services.of_service(growth, service) for growth in self.growths(moments, [metric])]
        return timelines(metric, moments, growths, by, where or {})
