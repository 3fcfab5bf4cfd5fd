"""How much series grew, from what rules recorded where that is provably all, and from the samples themselves elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor
from typing import TypeVar

from otel_tts.history.answers import Answers
from otel_tts.history.engine import QueryEngine, Sample
from otel_tts.history.raw import RawGrowth, Samples
from otel_tts.promql import readings, recorded
from otel_tts.promql.recorded import GRID_S, LATER_S, RECORDED, SILENCE_S
from otel_tts.semconv import Metric

T = TypeVar("T")
Moments = tuple[float, ...]
Seen = dict[str, dict[int, float]]
"""By metric and number of the window: how many."""

_LATE_S = LATER_S + 10.0
"""Seconds after which what happened is recorded: the rules take a while themselves."""
_SAME_S = 5.0
"""Seconds within which everybody asks for the same."""
_PARTS = 120
"""In how many parts a window is compared with the samples."""
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Complete:
    """What a comparison with the samples shows: the numbers of the ``parts`` of which all was recorded, by metric.

    before: whether all was of the hour before. began: the parts in which rules took series for new.
    """

    parts: Mapping[str, Collection[int]]
    before: bool
    began: Collection[int]


@dataclass(frozen=True, slots=True)
class HalfMinutes:
    """How much series grew in half minutes, by their number; the others as in `Complete`."""

    grown: Samples
    before: bool
    began: Collection[int]


class RecordedGrowth:
    """The growth of counters and of the buckets of histograms, as `RawGrowth` has it, at a cost that does not grow with processes.

    A part of a window counts as complete where the rules saw as many samples as there are now, in it and in the hour before, since they
    counted from those on; where they took as many series for new as are; and where no process began anew.

    Args:
        engine: evaluates queries.
        raw: what is asked where nothing was recorded, or not all.
        interval_s: between two exports, in seconds.
        where: matchers of what is asked for, with labels that `recorded.KEPT` has.
        kept_s: for how long an answer is kept for others who ask the same, in seconds.
        wall_clock: gives seconds since the Unix epoch.
    """

    def __init__(
        self,
        engine: QueryEngine,
        raw: RawGrowth,
        interval_s: float,
        where: Sequence[str] = (),
        kept_s: float = 0.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._raw = raw
        self._interval_s = interval_s
        self._where = where
        self._wall_clock = wall_clock
        self._kept = Answers(_KEPT, kept_s) if kept_s else None

    def grown(self, metrics: Sequence[Metric], moments: Sequence[float]) -> Samples:
        """How much each metric's series grew between each two of the moments, by service and attributes.

        Args:
            metrics: counters and histograms.
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
        """
        results: dict[str, list[Sample]] = {metric.name: [] for metric in metrics}
        of_rules = [metric for metric in metrics if metric in RECORDED]
        others = [metric for metric in metrics if metric not in RECORDED]
        if others:
            _add(results, self._asked_raw(others, tuple(moments)), range(len(moments) - 1))
        if of_rules and self.is_any_recorded(moments[0], moments[-1]):
            one_window = len(moments) == 2
            (self._one_window if one_window else self._windows)(of_rules, tuple(moments), results)
        elif of_rules:
            _add(results, self._asked_raw(of_rules, tuple(moments)), range(len(moments) - 1))
        return results

    def is_any_recorded(self, start: float, end: float) -> bool:
        """Whether rules recorded anything of that time; where they are not loaded, nothing more is asked.

        Args:
            start: in seconds since the Unix epoch.
            end: in seconds since the Unix epoch.
        """
        last = self.until(end)
        if last - start < GRID_S:
            return False
        window = (start, last)
        return self._once(
            ("any", *window), lambda: bool(self._engine.each(recorded.seen(last - start, self._where), window, LATER_S))
        )

    def half_minutes(self, metrics: Sequence[Metric], moments: Sequence[float]) -> HalfMinutes:
        """How much each metric's series grew in half minutes of the clock that rules recorded, or may have.

        Args:
            metrics: some of `RECORDED`.
            moments: half minutes of the clock, in seconds since the Unix epoch.
        """
        parts = tuple(moments)
        together = self._complete(metrics, (parts[0], parts[-1]))
        began = set(together.began) if len(parts) == 2 else set()  # all that was new in many of them was so in the whole time
        results: dict[str, list[Sample]] = {metric.name: [] for metric in metrics}
        if whole := [metric for metric in metrics if together.parts[metric.name]]:
            _add(results, self._asked_recorded(whole, parts), range(len(parts) - 1))
        if in_part := [metric for metric in metrics if not together.parts[metric.name]]:
            self._middle(in_part, parts, results, one_window=False)
            began |= set(self._complete(in_part, parts).began)
        return HalfMinutes(results, together.before, began)

    def are_all_new(self, metrics: Sequence[Metric], start: float, end: float) -> bool:
        """Whether all series that rules took for new are so in the whole time: none came back after an hour.

        Args:
            metrics: some of `RECORDED`.
            start: a half minute of the clock, in seconds since the Unix epoch.
            end: a half minute of the clock, in seconds since the Unix epoch.
        """
        return len(self._as_new(metrics, (start, end))) == len(metrics)

    def _windows(self, metrics: Sequence[Metric], moments: Moments, results: dict[str, list[Sample]]) -> None:
        """Windows of whole half minutes: each is taken as it was recorded, or not."""
        on_grid = all(moment % GRID_S == 0 for moment in (moments[0], moments[1] - moments[0]))
        over = [moment for moment in moments if moment <= self.until(moments[-1])] if on_grid else []
        if len(over) > 1:
            self._middle(metrics, tuple(over), results, one_window=False)
        else:
            over = [moments[0]]
        if len(over) < len(moments):
            first = len(over) - 1
            _add(results, self._asked_raw(metrics, moments[first:]), range(first, len(moments) - 1))

    def _one_window(self, metrics: Sequence[Metric], moments: Moments, results: dict[str, list[Sample]]) -> None:
        """One window: what is recorded of it, and the rest at its ends."""
        start, end = moments
        first, last = ceil(start / GRID_S) * GRID_S, min(floor(end / GRID_S) * GRID_S, self.until(end))
        if last - first < GRID_S:
            _add(results, self._asked_raw(metrics, moments), [0])
            return
        whole = self._complete(metrics, (first, last)).parts
        if recorded_whole := [metric for metric in metrics if whole[metric.name]]:
            _add(results, self._asked_recorded(recorded_whole, (first, last)), [0])
        if in_part := [metric for metric in metrics if not whole[metric.name]]:
            step_s = ceil((last - first) / GRID_S / _PARTS) * GRID_S
            between = last - floor((last - first) / step_s) * step_s
            if first < between:
                self._middle(in_part, (first, between), results, one_window=True)
            parts = tuple(between + number * step_s for number in range(round((last - between) / step_s) + 1))
            self._middle(in_part, parts, results, one_window=True)
        for rest in ((start, first), (last, end)):
            if rest[0] < rest[1]:
                _add(results, self._asked_raw(metrics, rest), [0])

    def _middle(self, metrics: Sequence[Metric], parts: Moments, results: dict[str, list[Sample]], *, one_window: bool) -> None:
        """Parts that are recorded, of one window or each a window: whole ones from there, others from the samples."""
        whole = self._complete(metrics, parts).parts
        runs: dict[tuple[bool, int, int], list[Metric]] = {}
        for metric in metrics:
            for is_whole, of_group in groupby(range(len(parts) - 1), key=whole[metric.name].__contains__):
                run = list(of_group)
                runs.setdefault((is_whole, run[0], run[-1] + 1), []).append(metric)
        for (is_whole, first, last), of_run in runs.items():
            ends = (parts[first], parts[last]) if one_window else parts[first : last + 1]
            numbers: Sequence[int] = [0] if one_window else range(first, last)
            as_new = self._as_new(of_run, ends) if is_whole and one_window else {metric.name for metric in of_run if is_whole}
            for asked, chosen in (
                (self._asked_recorded, [metric for metric in of_run if metric.name in as_new]),
                (self._asked_raw, [metric for metric in of_run if metric.name not in as_new]),
            ):
                if chosen:
                    _add(results, asked(chosen, ends), numbers)

    def _complete(self, metrics: Sequence[Metric], parts: Moments) -> Complete:
        """Of which parts all was recorded."""
        return self._once(("complete", _names(metrics), parts), lambda: self._compared(metrics, parts))

    def _compared(self, metrics: Sequence[Metric], parts: Moments) -> Complete:
        hour, length_s, each = (parts[0] - SILENCE_S, parts[0]), parts[1] - parts[0], self._engine.each
        before, saw, *samples = self._engine.together(
            [
                lambda: each(recorded.seen(SILENCE_S, self._where), hour, LATER_S),
                lambda: each(recorded.seen(length_s, self._where), parts, LATER_S),
                lambda: each(recorded.samples(metrics, SILENCE_S, self._where), hour),
                lambda: each(recorded.samples(metrics, length_s, self._where), parts),
                lambda: each(recorded.new(metrics, length_s, self._where), parts),
            ]
        )
        there_before, there, new = map(_by_metric, samples)
        saw_before, saw_samples, saw_new, saw_resets = (
            _by_metric(sample for sample in recorded_samples if sample[1].get("seen") == kind)
            for recorded_samples, kind in ((before, "samples"), (saw, "samples"), (saw, "new"), (saw, "resets"))
        )
        missed = {
            metric.name: [
                *([-1] if saw_before.get(metric.name, {}).get(0, 0) != there_before.get(metric.name, {}).get(0, 0) else []),
                *(
                    number
                    for number in range(len(parts) - 1)
                    if saw_samples.get(metric.name, {}).get(number, 0) != there.get(metric.name, {}).get(number, 0)
                ),
            ]
            for metric in metrics
        }
        after = self._doubtful_parts(metrics, parts) if any(missed.values()) else 0
        whole: dict[str, set[int]] = {}
        for name, of_metric in missed.items():
            doubtful = {number + offset for number in of_metric for offset in range(after + 1)}
            whole[name] = {
                number
                for number in range(len(parts) - 1)
                if number not in doubtful
                and number not in saw_resets.get(name, {})
                and saw_new.get(name, {}).get(number, 0) == new.get(name, {}).get(number, 0)
            }
        began = {number for metric in metrics for number, count in saw_new.get(metric.name, {}).items() if count}
        return Complete(whole, all(-1 not in of_metric for of_metric in missed.values()), began)

    def _doubtful_parts(self, metrics: Sequence[Metric], parts: Moments) -> int:
        """After a part that was not seen whole, the number of parts that may have been counted from a sample in it."""
        length_s = parts[1] - parts[0]
        short_s = max(60.0, 3 * self._interval_s)
        silent = self._engine.each(readings.silent(metrics, length_s, short_s, SILENCE_S, self._where), parts)
        return ceil((SILENCE_S if silent else short_s) / length_s)

    def _as_new(self, metrics: Sequence[Metric], window: Moments) -> set[str]:
        """The metrics of which the rules took as many series for new as are new in the whole window: nobody came back after an hour."""

        def asked() -> set[str]:
            length_s = window[1] - window[0]
            saw = _by_metric(
                sample
                for sample in self._engine.each(recorded.seen(length_s, self._where), window, LATER_S)
                if sample[1].get("seen") == "new"
            )
            new = _by_metric(self._engine.each(recorded.new(metrics, length_s, self._where), window))
            return {metric.name for metric in metrics if saw.get(metric.name) == new.get(metric.name)}

        return self._once(("new", _names(metrics), window), asked)

    def _asked_recorded(self, metrics: Sequence[Metric], moments: Moments) -> Samples:
        def asked() -> Samples:
            samples: dict[str, list[Sample]] = {metric.name: [] for metric in metrics}
            query = recorded.growth(metrics, moments[1] - moments[0], self._where)
            own: dict[int, dict[str, str]] = {}
            answer = self._engine.each(query, moments, LATER_S)
            for number, labels, value in answer:
                if (name := labels.get("metric", "")) in samples:
                    if id(labels) not in own:  # those of all windows of a series
                        own[id(labels)] = {key: text for key, text in labels.items() if key != "metric"}
                    samples[name].append((number, own[id(labels)], value))
                else:  # nobody asked for that
                    self._engine.unreadable.count += 1
            return samples

        return self._once(("recorded", _names(metrics), moments), asked)

    def _asked_raw(self, metrics: Sequence[Metric], moments: Moments) -> Samples:
        return self._once(("raw", _names(metrics), moments), lambda: self._raw.grown(metrics, moments))

    def _once(self, key: Hashable, question: Callable[[], T]) -> T:
        return self._kept.get(key, question) if self._kept is not None else question()

    def until(self, end: float) -> float:
        """The last half minute of the clock up to which rules recorded, where they are evaluated.

        Args:
            end: not after that moment, in seconds since the Unix epoch.
        """
        now = self._wall_clock() // _SAME_S * _SAME_S
        return floor(min(end, now - _LATE_S) / GRID_S) * GRID_S


def _add(results: dict[str, list[Sample]], samples: Samples, numbers: Sequence[int]) -> None:
    """Add samples; ``numbers`` are those of the windows that the samples' own numbers stand for."""
    for name, of_metric in samples.items():
        results[name] += [(numbers[number], labels, value) for number, labels, value in of_metric]


def _by_metric(samples: Iterator[Sample] | Sequence[Sample]) -> Seen:
    counts: Seen = {}
    for number, labels, value in samples:
        counts.setdefault(labels.get("metric", ""), {})[number] = value
    return counts


def _names(metrics: Sequence[Metric]) -> tuple[str, ...]:
    return tuple(metric.name for metric in metrics)
