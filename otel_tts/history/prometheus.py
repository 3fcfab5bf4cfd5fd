"""Metrics from Prometheus, or from what answers its API: how much series grew, exactly as their processes counted.

Values are differences of cumulative ones, so they are whole where counts are; `increase()` would extrapolate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from otel_tts import promql, semconv
from otel_tts.distribution import Distribution, growth
from otel_tts.history import otlp
from otel_tts.history.cardinality import AttributeSet
from otel_tts.history.http import Backend
from otel_tts.history.native import NativeHistograms
from otel_tts.history.otlp import Unreadable
from otel_tts.history.places import Place
from otel_tts.history.rows import Growth, Series
from otel_tts.history.stores import Stores
from otel_tts.history.whole import PART, WHOLE, missing_because
from otel_tts.promql import readings
from otel_tts.semconv import Attribute, Instrument, Metric
from otel_tts.settings import EVERYWHERE, SELECTABLE, Selection

_SILENCE_S = 3600.0
"""Seconds for which a process may be silent and still be known as the same one: after more, all that it has counted counts again."""
_POINTS = 5000
"""Windows that one query is about: Prometheus answers at most 11,000."""
_HOUR = 3600.0
_RETENTION = 400 * 24 * _HOUR  # fewer hours than the 11,000 values that Prometheus gives at most
"""Seconds back from now in which the first telemetry is looked for."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _StoredSeries:
    """One series of an answer: its labels, and its values by time (seconds since the Unix epoch)."""

    labels: Labels
    values: Sequence[tuple[float, float]]


class Prometheus:
    """The metrics of all processes that export to it.

    What it answers is whole, or an error: a part is never taken for all.

    Raises:
        HistoryUnavailableError: from every method, when it does not answer, not as it should, or only in part.
    """

    def __init__(
        self, backend: Backend, *, interval: float = 10.0, stores_away: int = 0, selection: Selection = EVERYWHERE
    ) -> None:
        """``backend``: how it is reached. ``interval``: seconds between exports. ``stores_away``: see `Stores`. ``selection``: whose."""
        self._where = [readings.equals(promql.sanitized(key), value) for key, value in selection.attributes]
        self._backend = backend
        self._interval_s = interval
        self._stores = Stores(backend, stores_away)
        self.unreadable = Unreadable()
        """What it answered and could not be read."""
        name = f"{backend.name[0].upper()}{backend.name[1:]}"
        self._native = NativeHistograms(self._result, name, _SILENCE_S, self._where, self.unreadable)

    def growths(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth]:
        """What the metrics' series did between each two of the moments, which are in order and evenly spaced.

        Args:
            moments: the ends of the intervals, in seconds since the Unix epoch, in ascending order.
            metrics: the metrics.
        """
        native = self._native.there(list(metrics), moments[0], moments[-1])
        results: list[dict[str, list[Series]]] = [{metric.name: [] for metric in metrics} for _ in moments[1:]]
        for first in range(0, len(results), _POINTS):
            part = moments[first : first + _POINTS + 1]
            for metric in metrics:
                counts = metric.instrument in (Instrument.COUNTER, Instrument.HISTOGRAM)
                for number, series in self._grown(metric, part) if counts else self._levels(metric, part):
                    results[first + number][metric.name].append(series)
            for metric in native:
                for number, labels, value in self._native.grown(metric, part, self._step_s):
                    results[first + number][metric.name].append(_one(metric, labels, value))
        return results

    def began(self, now: float) -> float | None:
        """The first moment that anything is known of; None when nothing is.

        Args:
            now: in seconds since the Unix epoch.
        """
        metric = semconv.SYNTHESIS_DURATION
        hours = [now - _RETENTION + number * _HOUR for number in range(round(_RETENTION / _HOUR) + 1)]
        exported_in = [number for number, _, _ in self._each(readings.exported(metric, _HOUR, self._where), hours)]
        if not exported_in:
            return None
        whole = self._at(readings.counts(metric, _HOUR, self._where), hours[min(exported_in) + 1])
        return min(time for answer in whole for time, _ in answer.values)

    def newest(self, now: float) -> float | None:
        """The moment of the newest metrics of the last day; None without any.

        Args:
            now: in seconds since the Unix epoch.
        """
        metric = semconv.SYNTHESIS_DURATION
        for query in (readings.newest(metric, self._where), readings.newest_within(metric, 24 * _HOUR, self._where)):
            for answer in self._at(query, now):
                return answer.values[0][1]
        return None

    def last_seen(self, start: float, end: float) -> Mapping[str, float]:
        """The moment of the newest sample of each service between two moments, by its name.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        moments: dict[str, float] = {}
        for answer in self._at(readings.last_seen(semconv.SYNTHESIS_DURATION, end - start, self._where), end):
            service, (_, moment) = _service(answer.labels), answer.values[0]
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
        answers = self._at(readings.places(semconv.SYNTHESIS_DURATION, end - start, self._where), end)
        return sorted({Place(_service(each.labels), tuple(each.labels.get(name, "") for name in labels)) for each in answers})

    def attribute_sets(self, moment: float) -> list[AttributeSet]:
        """The attribute sets of each process at a moment, and how many series each makes.

        Args:
            moment: in seconds since the Unix epoch.
        """
        sets = []
        for metric in semconv.METRICS:
            without_buckets = self._at(readings.series_of(metric, self._where), moment)
            buckets: dict[tuple[tuple[str, str], ...], int] = {}
            if without_buckets and metric.instrument is Instrument.HISTOGRAM:
                bounds = self._at(readings.bounds_of(metric, self._where), moment)
                buckets = {tuple(sorted(answer.labels.items())): round(answer.values[0][1]) for answer in bounds}
            for answer in without_buckets:
                labels, number = answer.labels, buckets.get(tuple(sorted(answer.labels.items())), 0)
                process = tuple(labels.get(name, "") for name in readings.PROCESS)
                own = {name: value for name, value in labels.items() if not readings.is_of_process(name)}
                series = round(answer.values[0][1]) + number
                sets.append(AttributeSet(metric, _service(labels), process, own, number, series))
        return sets

    def exported(self, start: float, end: float) -> float:
        """How many values of requests were exported between two moments.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        answers = self._at(readings.exported(semconv.SYNTHESIS_DURATION, end - start, self._where), end)
        return sum(value for answer in answers for _, value in answer.values)

    def _grown(self, metric: Metric, moments: Sequence[float]) -> Iterator[tuple[int, Series]]:
        """For a metric that counts: each window's number, and a series that was exported in it."""
        window = moments[1] - moments[0]
        restarted: dict[int, list[list[str]]] = {}
        restarts = readings.restarts(metric, window, _SILENCE_S, self._step_s, self._where)
        for number, process, _ in self._each(restarts, moments):
            restarted.setdefault(number, []).append([readings.equals(name, process.get(name, "")) for name in readings.PROCESS])
        growths = self._each(readings.growth(metric, window, _SILENCE_S, self._where), moments)
        samples = [sample for sample in growths if sample[0] not in restarted]
        for number, processes in restarted.items():
            end = moments[number + 1]
            others = self._at(readings.growth(metric, window, _SILENCE_S, self._where, processes), end)
            samples += [(number, answer.labels, answer.values[0][1]) for answer in others]
            for process_matchers in processes:
                exported = self._at(readings.samples(metric, window + _SILENCE_S, [*process_matchers, *self._where]), end)
                counts = ((answer.labels, _counted(answer.values, moments[number])) for answer in exported)
                samples += [(number, labels, count) for labels, count in counts if count is not None]
        return _series(metric, samples)

    def _levels(self, metric: Metric, moments: Sequence[float]) -> Iterator[tuple[int, Series]]:
        """For a metric that has a level: each window's number, and a series that was exported in it."""
        for number, labels, value in self._each(readings.level(metric, moments[1] - moments[0], self._where), moments):
            yield number, _one(metric, labels, value)

    def _each(self, query: str, moments: Sequence[float]) -> list[tuple[int, Labels, float]]:
        """Evaluate a query at the end of each window between the moments: the window's number, a series' labels, its value.

        Prometheus counts in milliseconds. What is lost by rounding is lost at the earliest windows.
        """
        windows = len(moments) - 1
        step, end = round(1000 * (moments[1] - moments[0])), round(1000 * moments[-1])
        start = end - (windows - 1) * step
        times = {"start": _written(start / 1000), "end": _written(end / 1000), "step": _written(step / 1000)}
        return [
            (round((1000 * time - start) / step), answer.labels, value)
            for answer in self._asked("query_range", {"query": query, **times})
            for time, value in answer.values
        ]

    def _at(self, query: str, moment: float) -> list[_StoredSeries]:
        """Evaluate a query at one moment."""
        return self._asked("query", {"query": query, "time": _written(moment)})

    @property
    def _step_s(self) -> float | None:
        return self._interval_s / 2 if self._stores.is_thanos else None

    def _asked(self, path: str, parameters: Mapping[str, str | float]) -> list[_StoredSeries]:
        answers = []
        for item in self._result(path, parameters):
            try:
                answers.append(_answer(item))
            except otlp.FAULTS:
                self.unreadable.count += 1
        return answers

    def _result(self, path: str, parameters: Mapping[str, str | float]) -> Sequence[Any]:
        reply = self._backend.get(f"/api/v1/{path}", {**parameters, **WHOLE})
        if (reason := missing_because(reply)) is not None:
            raise self._backend.incomplete(PART, reason)
        match reply:
            case {"status": "success", "data": {"result": list(result)}}:
                if (reason := self._stores.missing_because()) is not None:
                    raise self._backend.incomplete(PART, reason)
                return result
        raise self._backend.unavailable("does not answer as Prometheus does", "Is that the address of its API?")


def _answer(item: Mapping[str, Any]) -> _StoredSeries:
    labels = {otlp.text(name): otlp.text(value) for name, value in item["metric"].items()}
    histograms = [(time, value["count"]) for time, value in item.get("histograms", ())]
    values = histograms or (item["values"] if "values" in item else [item["value"]])
    return _StoredSeries(labels, [(otlp.number(time), float(value)) for time, value in values])


def _written(seconds: float) -> str:
    return f"{seconds:.3f}"


def _counted(values: Sequence[tuple[float, float]], start: float) -> float | None:
    """How much a series that began anew has grown since ``start``; None when it was not exported since."""
    last, grown = 0.0, None
    for time, value in values:
        if time > start:
            grown = (grown or 0.0) + growth(last, value)
        last = value
    return grown


def _series(metric: Metric, samples: Sequence[tuple[int, Labels, float]]) -> Iterator[tuple[int, Series]]:
    """Build series from values: one for each, or one for all buckets of a histogram."""
    if metric.instrument is not Instrument.HISTOGRAM:
        yield from ((number, _one(metric, labels, value)) for number, labels, value in samples)
        return

    def one(item: tuple[int, Labels, float]) -> tuple[int, list[tuple[str, str]]]:
        number, labels, _ = item
        return number, sorted((name, value) for name, value in labels.items() if name != readings.BOUND)

    for (number, labels), group in groupby(sorted(samples, key=one), key=one):
        buckets: dict[float, float] = {}
        for _, of_bucket, value in group:
            bound = float(of_bucket[readings.BOUND])
            buckets[bound] = buckets.get(bound, 0.0) + value
        yield number, _one(metric, dict(labels), Distribution(dict(sorted(buckets.items()))))


def _one(metric: Metric, labels: Labels, value: float | Distribution) -> Series:
    attributes = {
        attribute.key: _value(attribute, labels[name])
        for attribute in metric.attributes
        if labels.get(name := promql.label(attribute))
    }
    return Series(attributes, value, _service(labels), labels.get("service_version", ""))


def _service(labels: Labels) -> str:
    return labels.get("service_name") or labels.get("job", "").rpartition("/")[2]


def _value(attribute: Attribute, text: str) -> str | bool:
    return text == "true" if attribute.type == "boolean" else text
