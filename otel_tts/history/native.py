"""Native histograms: read where their buckets are those of the metric, and refused where somebody looks at others.

The buckets of a metric are the bounds that requests are judged by. Explicit buckets that a store has put together in one series
(native histograms with custom buckets) still have them; exponential ones do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from otel_tts import promql
from otel_tts.distribution import Distribution, growth
from otel_tts.history.otlp import FAULTS, Unreadable
from otel_tts.history.unavailable import HistoryUnavailableError, exponential
from otel_tts.promql import native, readings
from otel_tts.semconv import Instrument, Metric

Labels = Mapping[str, str]
NativeSample = tuple[int, Labels, Distribution]
"""The number of a window, the labels of a series, and what came in it."""
Ask = Callable[[str, Mapping[str, str | float]], Sequence[Any]]
"""Asks a path of Prometheus's API; gives the series of its answer, as JSON."""


class Unbounded(Distribution):
    """A histogram whose number of values is known, but not how they lie to the metric's bounds: whoever looks at buckets is refused.

    Args:
        count: the number of values.
        source: who has it, to begin a sentence.
        name: of the metric and its service.
    """

    __slots__ = ("_count", "_name", "_source")
    _count: float
    _name: str
    _source: str

    def __init__(self, count: float, source: str, name: str) -> None:
        for attribute, value in (("_count", count), ("_source", source), ("_name", name)):
            object.__setattr__(self, attribute, value)

    @property
    def buckets(self) -> Mapping[float, float]:
        """There are none to be had. Raises `HistoryUnavailableError`."""
        raise exponential(self._source, self._name)

    @property
    def count(self) -> float:
        """The number of values."""
        return self._count

    def __sub__(self, earlier: Distribution) -> Distribution:
        """Return the values that were added since an earlier state of the same histogram."""
        return self.with_count(self._count - earlier.count)

    def with_count(self, count: float) -> Unbounded:
        """The same with another number of values.

        Args:
            count: the number.
        """
        return Unbounded(count, self._source, self._name)


def merged(parts: Sequence[Distribution]) -> Distribution:
    """Merge distributions of one metric into one; where one of them is unbounded, so is that. Whoever looks at its buckets is told.

    Args:
        parts: the distributions.
    """
    unbounded = next((part for part in parts if isinstance(part, Unbounded)), None)
    return Distribution.merged(parts) if unbounded is None else unbounded.with_count(sum(part.count for part in parts))


def distribution(histogram: Mapping[str, Any], bounds: Sequence[float]) -> Distribution | None:
    """Read a histogram of Prometheus's API; None where it has other buckets than those between the bounds. Empty ones are left out there.

    Args:
        histogram: with ``count`` and ``buckets``: for each a rule, the lower bound, the upper one, and how many values lie in it.
        bounds: of the metric, ascending.
    """
    wanted = [*pairwise([-math.inf, *bounds, math.inf])]
    counts = dict.fromkeys(wanted, 0.0)
    for _, lower, upper, count in histogram.get("buckets", ()):
        bucket = float(lower), float(upper)
        if bucket not in counts:
            return None
        counts[bucket] += float(count)
    cumulative = [*accumulate(counts.values())]
    if cumulative[-1] != float(histogram["count"]):
        return None
    return Distribution({upper: count for (_, upper), count in zip(wanted, cumulative, strict=True)})


class NativeHistograms:
    """The native histograms of an engine that answers Prometheus's API.

    Args:
        ask: asks a path of its API.
        name: of the engine, to begin a sentence with.
        silence_s: for how long a process may be silent and still be known as the same one, in seconds.
        where: matchers of what is asked for.
        unreadable: counts what was answered and could not be read.
    """

    def __init__(self, ask: Ask, name: str, silence_s: float, where: Sequence[str], unreadable: Unreadable) -> None:
        self._ask = ask
        self._name = name
        self._silence_s = silence_s
        self._where = where
        self._unreadable = unreadable

    def there(self, metrics: Sequence[Metric], start: float, end: float) -> list[Metric]:
        """The histograms of which there are native ones between two moments.

        Args:
            metrics: the metrics.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.

        Raises:
            HistoryUnavailableError: in this time the store changed from buckets to native histograms, or back.
        """
        histograms = {promql.series(metric): metric for metric in metrics if metric.instrument is Instrument.HISTOGRAM}
        if not histograms:
            return []
        since_s = end - start + self._silence_s
        names = self._names(list(histograms.values()), start, end)
        there = [metric for name, metric in histograms.items() if name in names]
        for metric in there:
            if changed := self._at(native.counted_in_two_ways(metric, since_s, self._where), end):
                services = ", ".join(sorted({str(item["metric"].get("service_name", "")) for item in changed}))
                raise HistoryUnavailableError(
                    f"{self._name} changed between buckets and native histograms for {promql.series(metric)} (of {services}) in this "
                    "time or the hour before, and has neither of all of it. Ask for a time before that, or from an hour after it on."
                )
        return there

    def are_any(self, metrics: Sequence[Metric], start: float, end: float) -> bool:
        """Whether there are native histograms of any of the metrics between two moments, or in the hour before.

        Args:
            metrics: the metrics.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        return bool(self._names([metric for metric in metrics if metric.instrument is Instrument.HISTOGRAM], start, end))

    def _names(self, histograms: Sequence[Metric], start: float, end: float) -> set[str]:
        answers = self._at(readings.native(histograms, end - start + self._silence_s, self._where), end)
        return {str(item["metric"].get("__name__")) for item in answers}

    def grown(self, metric: Metric, moments: Sequence[float], step_s: float | None) -> list[NativeSample]:
        """How much each histogram grew between each two of the moments, by service and attributes.

        Args:
            metric: the histogram.
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
            step_s: seconds, fewer than between two exports; None: series are looked at at once. See `readings.restarts`.
        """
        window_s = moments[1] - moments[0]
        restarted: dict[int, list[list[str]]] = {}
        restarts = native.restarts(metric, window_s, self._silence_s, step_s, self._where)
        for number, item in self._each(restarts, moments, "values"):
            process = [readings.equals(name, item["metric"].get(name, "")) for name in readings.PROCESS]
            restarted.setdefault(number, []).append(process)
        query = native.growth(metric, window_s, self._silence_s, self._where)
        items = [(number, item) for number, item in self._each(query, moments, "histograms") if number not in restarted]
        samples: list[NativeSample] = []
        for number, processes in restarted.items():
            end = moments[number + 1]
            others = self._at(native.growth(metric, window_s, self._silence_s, self._where, processes), end)
            items += [(number, {"metric": item["metric"], "at": item.get("histogram")}) for item in others]
            for process in processes:
                exported = self._at(native.samples(metric, window_s + self._silence_s, [*process, *self._where]), end)
                samples += self._samples(((number, item) for item in exported), partial(self._since, metric, moments[number]))
        return [*samples, *self._samples(items, lambda item: self._distribution(metric, item["metric"], item["at"][1]))]

    def _samples(
        self, items: Iterable[tuple[int, Mapping[str, Any]]], read: Callable[[Mapping[str, Any]], Distribution | None]
    ) -> list[NativeSample]:
        samples = []
        for number, item in items:
            try:
                if (value := read(item)) is not None:
                    samples.append((number, item["metric"], value))
            except FAULTS:
                self._unreadable.count += 1
        return samples

    def _since(self, metric: Metric, start: float, item: Mapping[str, Any]) -> Distribution | None:
        """How much a series that began anew has grown since ``start``; None when it was not exported since."""
        last, grown = None, list[Distribution]()
        for time, histogram in item.get("histograms", ()):
            value = self._distribution(metric, item["metric"], histogram)
            if float(time) > start:
                grown.append(growth(last, value))
            last = value
        if any(isinstance(each, Unbounded) for each in grown):
            return self._unbounded(metric, item["metric"], sum(each.count for each in grown))
        return Distribution.merged(grown) if grown else None

    def _distribution(self, metric: Metric, labels: Labels, histogram: Mapping[str, Any]) -> Distribution:
        read = distribution(histogram, metric.buckets)
        return self._unbounded(metric, labels, float(histogram["count"])) if read is None else read

    def _unbounded(self, metric: Metric, labels: Labels, count: float) -> Unbounded:
        service = labels.get("service_name") or labels.get("job", "").rpartition("/")[2]
        return Unbounded(count, self._name, f"{promql.series(metric)} (of {service})")

    def _each(self, query: str, moments: Sequence[float], kind: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Evaluate a query at the end of each window: the window's number, and each series with its value ``at`` it."""
        windows = len(moments) - 1
        step, end = round(1000 * (moments[1] - moments[0])), round(1000 * moments[-1])
        start = end - (windows - 1) * step
        times = {"start": f"{start / 1000:.3f}", "end": f"{end / 1000:.3f}", "step": f"{step / 1000:.3f}"}
        return [
            (round((1000 * float(at[0]) - start) / step), {"metric": item["metric"], "at": at})
            for item in self._ask("query_range", {"query": query, **times})
            for at in item.get(kind, ())
        ]

    def _at(self, query: str, moment: float) -> Sequence[Any]:
        return self._ask("query", {"query": query, "time": f"{moment:.3f}"})
