"""Growth up to now, from the sums of all series then and now: half of the work of comparing them one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

from otel_tts.history.engine import Labels, QueryEngine, Sample
from otel_tts.history.raw import RawGrowth, Samples
from otel_tts.promql import readings
from otel_tts.promql.recorded import GRID_S, is_whole
from otel_tts.semconv import Metric

Key = tuple[tuple[str, str], ...]
"""Labels, in order; the metric's name is one of them."""
Sums = Mapping[Key, tuple[Labels, float]]
"""The sum of the series that have the same labels."""

_PARTS = 4
_KEPT = 6
_OLDEST_S = 300.0
"""For how long the same samples are looked back to, in seconds: the range that is read grows with it."""


class States:
    """The growth of counters and histograms between two moments, as `RawGrowth` has it, for who asks every few seconds.

    What the series of all processes add up to now, less what they did at the beginning, is their growth; as long as none of them began
    anew, nor came back after a while: where one did, `RawGrowth` is asked. Sums at moments of the clock's half minutes are kept, so that
    the next question is about the present only. Series that have ended stay in the sums: the time that is looked back to stays the same.
    Fractions are left to `RawGrowth`, since differences of large sums are not exact.

    Args:
        engine: evaluates queries.
        raw: what is asked otherwise.
        metrics: counters and histograms.
        where: matchers of what is asked for.
    """

    def __init__(self, engine: QueryEngine, raw: RawGrowth, metrics: Sequence[Metric], where: Sequence[str] = ()) -> None:
        self._engine = engine
        self._raw = raw
        self._metrics = [metric for metric in metrics if is_whole(metric)]
        self._fractions = [metric for metric in metrics if not is_whole(metric)]
        self._where = where
        self._kept: dict[float, tuple[float, Sums]] = {}
        self._lock = Lock()  # held for no question

    def grown(self, moments: Sequence[float]) -> Samples:
        """How much each metric's series grew between each two of the moments, by service and attributes.

        Args:
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
        """
        of_whole, of_fractions = self._engine.together(
            [
                lambda: self._differences(moments),
                lambda: self._raw.grown(self._fractions, moments) if self._fractions else {},
            ]
        )
        return {**of_whole, **of_fractions}

    def forget(self) -> None:
        """Keep no sums: samples came that are not in them."""
        with self._lock:
            self._kept.clear()

    def _differences(self, moments: Sequence[float]) -> Samples:
        start, *ends = moments
        are_over = ends[-1] % GRID_S == 0
        since, before = self._base(start)
        present = readings.by_metric(self._metrics, lambda metric: readings.present(metric, ends[0] - start, self._where))
        questions: list[Callable[[], Any]] = [
            lambda: self._raw.is_steady(self._metrics, start, ends[-1]),
            lambda: {(number, _set(labels)) for number, labels, _ in self._engine.each(present, moments)},
            *(partial(self._sums, since, end) for end in ends),
        ]
        is_steady, exported, *states = self._engine.together(questions)
        samples: dict[str, list[Sample]] = {metric.name: [] for metric in self._metrics}
        for number, now in enumerate(states):
            grown = {key: value - before[key][1] if key in before else value for key, (_, value) in now.items()}
            if not is_steady or before.keys() - now.keys() or min(grown.values(), default=0) < 0:
                return self._raw.grown(self._metrics, moments)
            for key, (labels, _) in now.items():
                if (number, _set(dict(key))) in exported:
                    samples[dict(key)["metric"]].append((number, labels, grown[key]))
            before = now
        if are_over:
            for end, sums in zip(ends, states, strict=True):
                self._keep(end, since, sums)
        return samples

    def _base(self, moment: float) -> tuple[float, Sums]:
        """The sums at a moment, and since when samples were looked for."""
        with self._lock:
            kept = self._kept.get(moment)
        if kept is not None and moment - kept[0] <= _OLDEST_S:
            return kept
        since = moment - self._raw.short_s
        sums = self._sums(since, moment)
        self._keep(moment, since, sums)
        return since, sums

    def _sums(self, since: float, moment: float) -> Sums:
        def some(part: Sequence[Metric]) -> list[Sample]:
            query = readings.by_metric(part, lambda metric: readings.state(metric, moment - since, self._where))
            return self._engine.each(query, (since, moment))

        parts = [self._metrics[first::_PARTS] for first in range(min(_PARTS, len(self._metrics)))]
        sums: dict[Key, tuple[Labels, float]] = {}
        for samples in self._engine.together([partial(some, part) for part in parts]):
            for _, labels, value in samples:
                own = {name: text for name, text in labels.items() if name != "metric"}
                sums[_key(labels)] = own, value
        return sums

    def _keep(self, moment: float, since: float, sums: Sums) -> None:
        with self._lock:
            self._kept[moment] = since, sums
            for old in sorted(self._kept)[:-_KEPT]:
                del self._kept[old]


def _key(labels: Labels) -> Key:
    return tuple(sorted(labels.items()))


def _set(labels: Labels) -> Key:
    """The labels of all buckets of a histogram."""
    return _key({name: text for name, text in labels.items() if name != readings.BOUND})
