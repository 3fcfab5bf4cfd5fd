"""How much series grew, from all the samples that their processes exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from otel_tts.distribution import growth
from otel_tts.history.engine import QueryEngine, Sample
from otel_tts.promql import readings
from otel_tts.promql.recorded import SILENCE_S
from otel_tts.semconv import Metric

Samples = Mapping[str, Sequence[Sample]]
"""What each metric's series grew by, by the metric's name."""


class RawGrowth:
    """The growth of counters and of the buckets of histograms.

    Args:
        engine: evaluates queries.
        interval_s: between two exports, in seconds.
        where: matchers of what is asked for.
    """

    def __init__(self, engine: QueryEngine, interval_s: float, where: Sequence[str] = ()) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._where = where

    def grown(self, metrics: Sequence[Metric], moments: Sequence[float]) -> Samples:
        """How much each metric's series grew between each two of the moments, by service and attributes.

        Args:
            metrics: counters and histograms.
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
        """
        silence_s = self._silence_s(metrics, moments)
        anew = self._any_began_anew(metrics, moments, silence_s)

        def one(metric: Metric) -> Sequence[Sample]:
            growths = self._engine.each(readings.growth(metric, moments[1] - moments[0], silence_s, self._where), moments)
            return self._with_restarts(metric, moments, silence_s, growths) if anew else growths

        answers = self._engine.together([partial(one, metric) for metric in metrics])
        return dict(zip((metric.name for metric in metrics), answers, strict=True))

    def is_steady(self, metrics: Sequence[Metric], start: float, end: float) -> bool:
        """Whether every process that exported between two moments did so as well within `short_s` before, and none began anew.

        Args:
            metrics: counters and histograms.
            start: in seconds since the Unix epoch.
            end: in seconds since the Unix epoch.
        """
        moments = (start, end)
        was_silent, anew = self._engine.together(
            [
                lambda: self._silence_s(metrics, moments) > self.short_s,
                lambda: self._any_began_anew(metrics, moments, self.short_s),
            ]
        )
        return not (was_silent or anew)

    @property
    def short_s(self) -> float:
        """How far back the last sample of a process is looked for, where nobody was silent for longer, in seconds."""
        return min(max(60.0, 3 * self._interval_s), SILENCE_S)

    def _silence_s(self, metrics: Sequence[Metric], moments: Sequence[float]) -> float:
        """How far before a window the last sample of every process that exported in it is looked for.

        An hour; but much less will do where nobody was silent for longer, which one of a histogram's series tells.
        """
        short_s = self.short_s
        if short_s >= SILENCE_S:
            return SILENCE_S
        window_s = moments[1] - moments[0]
        if not self._engine.each(readings.fresh(metrics, window_s, short_s, self._where), moments):
            return short_s
        silent = readings.silent(metrics, window_s, short_s, SILENCE_S, self._where)
        return SILENCE_S if self._engine.each(silent, moments) else short_s

    def _any_began_anew(self, metrics: Sequence[Metric], moments: Sequence[float], silence_s: float) -> bool:
        window_s = moments[-1] - moments[0]
        queries = [readings.restarts(metric, window_s, silence_s, self.step_s, self._where) for metric in metrics]
        return bool(self._engine.at(" or ".join(f"count({query})" for query in queries), moments[-1]))

    @property
    def step_s(self) -> float | None:
        """How far apart series are looked at for restarts, in seconds; None: all samples are."""
        return self._interval_s / 2 if self._engine.is_thanos else None

    def _with_restarts(
        self, metric: Metric, moments: Sequence[float], silence_s: float, growths: Sequence[Sample]
    ) -> Sequence[Sample]:
        """Count the processes that began anew sample by sample, in the windows in which they did."""
        window_s = moments[1] - moments[0]
        restarted: dict[int, list[list[str]]] = {}
        restarts = readings.restarts(metric, window_s, silence_s, self.step_s, self._where)
        for number, process, _ in self._engine.each(restarts, moments):
            restarted.setdefault(number, []).append([readings.equals(name, process.get(name, "")) for name in readings.PROCESS])
        samples = [sample for sample in growths if sample[0] not in restarted]
        for number, processes in restarted.items():
            end = moments[number + 1]
            others = self._engine.at(readings.growth(metric, window_s, silence_s, self._where, processes), end)
            samples += [(number, answer.labels, answer.values[0][1]) for answer in others]
            for process_matchers in processes:
                query = readings.samples(metric, window_s + silence_s, [*process_matchers, *self._where])
                counts = ((each.labels, _counted(each.values, moments[number])) for each in self._engine.at(query, end))
                samples += [(number, labels, count) for labels, count in counts if count is not None]
        return samples


def _counted(values: Sequence[tuple[float, float]], start: float) -> float | None:
    """How much a series that began anew has grown since ``start``; None when it was not exported since."""
    last, grown = 0.0, None
    for time, value in values:
        if time > start:
            grown = (grown or 0.0) + growth(last, value)
        last = value
    return grown
