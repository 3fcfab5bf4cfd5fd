"""Metrics from Prometheus, or from what answers its API: how much series grew, exactly as their processes counted.

Values are differences of cumulative ones, so they are whole where counts are; `increase()` would extrapolate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from otel_tts import promql, semconv
from otel_tts.history import rows, services
from otel_tts.history.answers import Answers
from otel_tts.history.cardinality import AttributeSet
from otel_tts.history.engine import QueryEngine
from otel_tts.history.http import Backend
from otel_tts.history.labelled import labelled_series, one, service_of
from otel_tts.history.native import NativeHistograms
from otel_tts.history.otlp import Unreadable
from otel_tts.history.places import Place
from otel_tts.history.raw import RawGrowth, Samples
from otel_tts.history.recent import RecentGrowth
from otel_tts.history.recorded import RecordedGrowth
from otel_tts.history.rows import Growth, Series
from otel_tts.history.states import States
from otel_tts.promql import readings, recorded
from otel_tts.semconv import Instrument, Metric
from otel_tts.settings import EVERYWHERE, SELECTABLE, Selection

_POINTS = 5000
"""Windows that one query is about: Prometheus answers at most 11,000."""
_TOGETHER = tuple(dict.fromkeys((*rows.METRICS, *services.METRICS, semconv.PROVIDER_FALLBACKS)))
"""What is asked for at once where answers are kept: whoever asks for one of them will ask for others."""
_KEPT = 64
_HOUR = 3600.0
_RETENTION = 400 * 24 * _HOUR  # fewer hours than the 11,000 values that Prometheus gives at most
"""Seconds back from now in which the first telemetry is looked for."""


class Prometheus:
    """The metrics of all processes that export to it.

    What it answers is whole, or an error: a part is never taken for all.

    Raises:
        HistoryUnavailableError: from every method, when it does not answer, not as it should, or only in part.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        interval: float = 10.0,
        stores_away: int = 0,
        selection: Selection = EVERYWHERE,
        kept_s: float = 0.0,
    ) -> None:
        """``backend``: how it is reached. ``interval``: seconds between exports. ``stores_away``: see `Stores`. ``selection``: whose.

        ``kept_s``: for how long an answer about growth is kept for others who ask the same, in seconds.
        """
        self._where = [readings.equals(promql.sanitized(key), value) for key, value in selection.attributes]
        self._engine = QueryEngine(backend, stores_away)
        self._raw = RawGrowth(self._engine, interval, self._where)
        self._is_recorded = all(promql.sanitized(key) in recorded.KEPT for key, _ in selection.attributes)
        self._recorded = RecordedGrowth(self._engine, self._raw, interval, self._where, kept_s)
        self._kept = Answers(_KEPT, kept_s) if kept_s else None
        states = States(self._engine, self._raw, _TOGETHER, self._where)
        self._recent = RecentGrowth(self._engine, _TOGETHER, self._recorded, states, interval, kept_s) if kept_s else None
        self._native = NativeHistograms(
            self._engine.result, self._engine.name, recorded.SILENCE_S, self._where, self._engine.unreadable
        )

    @property
    def unreadable(self) -> Unreadable:
        """What it answered and could not be read."""
        return self._engine.unreadable

    def growths(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth]:
        """What the metrics' series did between each two of the moments, which are in order and evenly spaced.

        Args:
            moments: the ends of the intervals, in seconds since the Unix epoch, in ascending order.
            metrics: the metrics.
        """
        may_be_native = self._may_be_native(moments[0], moments[-1])
        if (recent := None if may_be_native else self._lately(moments, metrics)) is not None:
            return recent
        native = self._native.there(list(metrics), moments[0], moments[-1]) if may_be_native else []
        results: list[dict[str, list[Series]]] = [{metric.name: [] for metric in metrics} for _ in moments[1:]]
        counting = [metric for metric in metrics if metric.instrument in (Instrument.COUNTER, Instrument.HISTOGRAM)]
        levels = [metric for metric in metrics if metric not in counting]
        for first in range(0, len(results), _POINTS):
            part = moments[first : first + _POINTS + 1]
            for metric in levels:
                for number, series in self._levels(metric, part):
                    results[first + number][metric.name].append(series)
            grown = self._grown(counting, part) if counting else {}
            for metric in counting:
                for number, series in labelled_series(metric, grown[metric.name], self._engine.unreadable):
                    results[first + number][metric.name].append(series)
            for metric in native:
                for number, labels, value in self._native.grown(metric, part, self._raw.step_s):
                    results[first + number][metric.name].append(one(metric, labels, value))
        return results

    def _lately(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth] | None:
        """The same of the last hour, where answers are kept and rules recorded it; None elsewhere."""
        if self._recent is None or not self._has_rules or not all(metric in _TOGETHER for metric in metrics):
            return None
        if (growths := self._recent.growths(moments)) is None:
            return None
        return [{metric.name: growth[metric.name] for metric in metrics} for growth in growths]

    def _may_be_native(self, start: float, end: float) -> bool:
        """Whether native histograms have to be looked for. Where answers are kept, all of them are asked for at once."""
        if self._kept is None:
            return True
        since, until = start // _HOUR * _HOUR, end // recorded.GRID_S
        return self._kept.get((since, until), lambda: self._native.are_any(semconv.METRICS, since, end))

    @property
    def _has_rules(self) -> bool:
        """Whether what rules recorded can be taken: Thanos gives them samples whose restarts it has smoothed out."""
        return self._is_recorded and not self._engine.is_thanos

    def _grown(self, metrics: Sequence[Metric], moments: Sequence[float]) -> Samples:
        """What the metrics' series grew by. Where answers are kept, some are asked for together."""
        if self._kept is not None and len(metrics) > 1 and all(metric in _TOGETHER for metric in metrics):
            metrics = _TOGETHER
        return self._recorded.grown(metrics, moments) if self._has_rules else self._raw.grown(metrics, moments)

    def began(self, now: float) -> float | None:
        """The first moment that anything is known of; None when nothing is.

        Args:
            now: in seconds since the Unix epoch.
        """
        metric = semconv.SYNTHESIS_DURATION
        hours = [now - _RETENTION + number * _HOUR for number in range(round(_RETENTION / _HOUR) + 1)]
        exported_in = [number for number, _, _ in self._engine.each(readings.exported(metric, _HOUR, self._where), hours)]
        if not exported_in:
            return None
        whole = self._engine.at(readings.counts(metric, _HOUR, self._where), hours[min(exported_in) + 1])
        return min(time for answer in whole for time, _ in answer.values)

    def newest(self, now: float) -> float | None:
        """The moment of the newest metrics of the last day; None without any.

        Args:
            now: in seconds since the Unix epoch.
        """
        metric = semconv.SYNTHESIS_DURATION
        for query in (readings.newest(metric, self._where), readings.newest_within(metric, 24 * _HOUR, self._where)):
            for answer in self._engine.at(query, now):
                return answer.values[0][1]
        return None

    def last_seen(self, start: float, end: float, metric: Metric) -> Mapping[str, float]:
        """The moment of the newest sample of each service between two moments, by its name.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            metric: by which services are known.
        """
        moments: dict[str, float] = {}
        for answer in self._engine.at(readings.last_seen(metric, end - start, self._where), end):
            service, (_, moment) = service_of(answer.labels), answer.values[0]
            if moment >= start:  # the first of the moments that are looked at finds what is a little older, too
                moments[service] = max(moment, moments.get(service, moment))
        return moments

    def places(self, start: float, end: float) -> list[Place]:
        """Where the processes run that exported metrics of requests between two moments.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        labels = [promql.sanitized(key) for key in SELECTABLE]
        answers = self._engine.at(readings.places(semconv.SYNTHESIS_DURATION, end - start, self._where), end)
        return sorted({Place(service_of(each.labels), tuple(each.labels.get(name, "") for name in labels)) for each in answers})

    def attribute_sets(self, moment: float) -> list[AttributeSet]:
        """The attribute sets of each process at a moment, and how many series each makes.

        Args:
            moment: in seconds since the Unix epoch.
        """
        sets = []
        for metric in semconv.METRICS:
            without_buckets = self._engine.at(readings.series_of(metric, self._where), moment)
            buckets: dict[tuple[tuple[str, str], ...], int] = {}
            if without_buckets and metric.instrument is Instrument.HISTOGRAM:
                bounds = self._engine.at(readings.bounds_of(metric, self._where), moment)
                buckets = {tuple(sorted(answer.labels.items())): round(answer.values[0][1]) for answer in bounds}
            for answer in without_buckets:
                labels, number = answer.labels, buckets.get(tuple(sorted(answer.labels.items())), 0)
                process = tuple(labels.get(name, "") for name in readings.PROCESS)
                own = {name: value for name, value in labels.items() if not readings.is_of_process(name)}
                series = round(answer.values[0][1]) + number
                sets.append(AttributeSet(metric, service_of(labels), process, own, number, series))
        return sets

    def exported(self, start: float, end: float) -> float:
        """How many values of requests were exported between two moments.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        answers = self._engine.at(readings.exported(semconv.SYNTHESIS_DURATION, end - start, self._where), end)
        return sum(value for answer in answers for _, value in answer.values)

    def _levels(self, metric: Metric, moments: Sequence[float]) -> Iterator[tuple[int, Series]]:
        """For a metric that has a level: each window's number, and a series that was exported in it."""
        for number, labels, value in self._engine.each(readings.level(metric, moments[1] - moments[0], self._where), moments):
            yield number, one(metric, labels, value)
