"""The growth of the last hour in half minutes of the clock, for pages that are drawn again every few seconds.

Every window of theirs is put together from half minutes that are asked once, and from the seconds since the last one. What rules
recorded of a half minute is compared with the samples once it is there, and the hour before it again with each one that follows: where
samples came late, all is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import floor, isclose
from threading import Lock

from otel_tts.history.answers import Answers
from otel_tts.history.engine import QueryEngine
from otel_tts.history.labelled import labelled_series
from otel_tts.history.raw import Samples
from otel_tts.history.recorded import RecordedGrowth
from otel_tts.history.rows import Growth, Series, added
from otel_tts.history.states import States
from otel_tts.promql.recorded import GRID_S
from otel_tts.semconv import Metric

_SPANS_S = (960.0, 3600.0)
"""How far back half minutes are asked for: as far as is needed."""
_KEPT = 256

HalfMinutes = Mapping[float, Growth]
"""The growth in half minutes, by their beginning."""


class RecentGrowth:
    """The growth of metrics in windows of the last hour that begin at a half minute of the clock.

    Args:
        engine: evaluates queries.
        metrics: some of `promql.recorded.RECORDED`.
        recorded: what rules recorded, or the samples.
        states: the growth since the last half minute.
        interval_s: between two exports, in seconds.
        kept_s: for how long an answer is kept for others who ask the same, in seconds.
        wall_clock: gives seconds since the Unix epoch.
    """

    def __init__(
        self,
        engine: QueryEngine,
        metrics: Sequence[Metric],
        recorded: RecordedGrowth,
        states: States,
        interval_s: float,
        kept_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._recorded = recorded
        self._states = states
        self._under_way_s = 2 * interval_s
        self._wall_clock = wall_clock
        self._answers = Answers(_KEPT, kept_s)
        self._compared: dict[float, tuple[Growth, bool]] = {}
        self._late: dict[float, Growth] = {}
        self._lock = Lock()  # held for no question

    def growths(self, moments: Sequence[float]) -> Sequence[Growth] | None:
        """The growth between each two of the moments; None where it cannot be put together from half minutes.

        Args:
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
        """
        start, closed = moments[0], _half_minute(self._wall_clock() - self._under_way_s)
        on_grid = all(moment % GRID_S == 0 for moment in moments[:-1])
        span_s = next((span_s for span_s in _SPANS_S if closed - span_s <= start <= closed), None)
        if span_s is None or not on_grid:
            return None
        half_minutes = self._answers.get(("half minutes", closed, span_s), lambda: self._half_minutes(closed, span_s))
        if half_minutes is None:
            return None
        windows = []
        for a, b in pairwise(moments):
            window = self._answers.get(("window", a, b, closed), lambda a=a, b=b: self._window(a, b, closed, half_minutes))  # type: ignore[misc]
            if window is None:
                return None
            windows.append(window)
        return windows

    def _window(self, start: float, end: float, closed: float, half_minutes: HalfMinutes) -> Growth | None:
        """One window; None where a process came back in it after an hour, so that a half minute took it for new."""
        since = end if end % GRID_S == 0 and end <= closed else max(start, min(closed, _half_minute(end - self._under_way_s)))
        until = min(since, self._recorded.until(closed))
        with self._lock:
            began = any(self._compared[moment][1] for moment in _grid(start, until) if moment in self._compared)
        if began and not self._recorded.are_all_new(self._metrics, start, until):
            return None
        parts = [half_minutes[moment] for moment in _grid(start, since)]
        if since < end:
            parts.append(self._answers.get(("since", since, end), lambda: self._series(self._states.grown((since, end)), 1)[0]))
        return added(parts)

    def _half_minutes(self, closed: float, span_s: float) -> HalfMinutes | None:
        """Those up to ``closed``; None where rules recorded nothing."""
        start, last = closed - span_s, self._recorded.until(closed)
        if not self._recorded.is_any_recorded(start, closed):
            return None
        with self._lock:
            kept, shown = dict(self._compared), dict(self._late)
        compared, late = self._engine.together(
            [
                lambda: self._are_compared(start, last, kept) or self._are_compared(start, last, {}) or {},
                lambda: self._latest(last, closed),
            ]
        )
        if any(moment in compared and not _are_same(compared[moment], growth) for moment, growth in shown.items()):
            self._states.forget()  # samples came late: what was taken for later growth is none
            with self._lock:
                self._late = {}
            late = self._latest(last, closed)
        return {**compared, **late}

    def _are_compared(self, start: float, last: float, kept: Mapping[float, tuple[Growth, bool]]) -> HalfMinutes | None:
        """The half minutes that rules recorded; None where what is kept of them is no longer what the samples are."""
        compared = dict(kept)
        for run in _runs([moment for moment in _grid(start, last) if moment not in compared]):
            answer = self._recorded.half_minutes(self._metrics, (*run, run[-1] + GRID_S))
            if not answer.before and any(moment < run[0] for moment in compared):
                return None
            growths = self._series(answer.grown, len(run))
            compared |= {moment: (growths[number], number in answer.began) for number, moment in enumerate(run)}
        with self._lock:
            self._compared = {moment: of_one for moment, of_one in compared.items() if moment >= last - _SPANS_S[-1]}
        return {moment: growth for moment, (growth, _) in compared.items()}

    def _latest(self, last: float, closed: float) -> HalfMinutes:
        """The half minutes that no rule has recorded yet."""
        with self._lock:
            kept = {moment: growth for moment, growth in self._late.items() if moment >= last}
        for run in _runs([moment for moment in _grid(last, closed) if moment not in kept]):
            kept |= zip(run, self._series(self._states.grown((*run, run[-1] + GRID_S)), len(run)), strict=True)
        with self._lock:
            self._late = kept
        return {moment: growth for moment, growth in kept.items() if moment < closed}

    def _series(self, samples: Samples, windows: int) -> list[Growth]:
        growths: list[dict[str, list[Series]]] = [{metric.name: [] for metric in self._metrics} for _ in range(windows)]
        for metric in self._metrics:
            for number, series in labelled_series(metric, samples[metric.name], self._engine.unreadable):
                growths[number][metric.name].append(series)
        return list(growths)


def _are_same(one: Growth, other: Growth) -> bool:
    """Whether as much came of each metric; fractions may differ by rounding."""
    return all(
        isclose(sum(series.amount for series in one[name]), sum(series.amount for series in other[name]), abs_tol=1e-6)
        for name in one
    )


def _half_minute(moment: float) -> float:
    return floor(moment / GRID_S) * GRID_S


def _grid(start: float, last: float) -> list[float]:
    """The half minutes between two moments of the clock, by their beginning."""
    return [start + number * GRID_S for number in range(round((last - start) / GRID_S))]


def _runs(moments: Sequence[float]) -> list[list[float]]:
    """Half minutes that follow upon one another, together."""
    runs: list[list[float]] = []
    for moment in moments:
        if runs and moment - runs[-1][-1] == GRID_S:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    return runs
