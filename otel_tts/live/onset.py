"""Since when a condition is met: the same judgement, at the moments before now.

They are a minute apart, or a twelfth of the condition's window. Between the two at which it began it is looked again, at moments up to
ten times as close: that is how exact the answer is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from otel_tts import semconv
from otel_tts.conditions import Condition
from otel_tts.conditions.figure import ABSENT
from otel_tts.history import Point, Timeline
from otel_tts.history.timelines import across
from otel_tts.live.cached_history import CachedHistory, FiguresUnknownError, Where
from otel_tts.live.judgement import Judge, SubjectFigure
from otel_tts.live.view import MINUTE, Period
from otel_tts.semconv import Attribute, Metric
from otel_tts.settings import LiveSettings

_MOMENTS = 60
"""How many moments back it is looked."""
_PARTS = 12
"""Of a condition's window: so far apart these moments are."""
_CLOSER = 10, 5, 2
"""How much closer moments may be for the second look, the best first."""
_CLOSEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Onset:
    """When something began: after ``earliest``, at ``since`` at the latest (seconds since the Unix epoch); equal where that is exact.

    before: it had begun already at ``since``, from which on it is known.
    """

    earliest: float
    since: float
    before: bool = False

    def words(self, format: Callable[[float], str], zone: str = "") -> str:
        """Say it for people. ``format`` writes a moment; ``zone`` stands at the end."""
        if self.before:
            words = f"since before {format(self.since)}"
        elif self.earliest < self.since:
            words = f"began between {format(self.earliest)} and {format(self.since)}"
        else:
            words = f"since {format(self.since)}"
        return f"{words} {zone}".rstrip()


class _Earlier:
    """Figures up to an earlier moment, put together from windows that are read once for all moments.

    Args:
        history: where the windows come from.
        start, end: the time that is read.
        step_s: the length of a window in seconds, which divides every window that is asked for.
    """

    def __init__(self, history: CachedHistory, start: float, end: float, step_s: float) -> None:
        self._history = history
        self._start = start
        self._end = end
        self._step_s = step_s

    @property
    def interval(self) -> float:
        """See `CachedHistory.interval`."""
        return self._history.interval

    def last_seen(self, start: float, end: float) -> Mapping[str, float]:
        """See `CachedHistory.last_seen`."""
        return self._history.last_seen(start, end)

    def series(
        self, metric: Metric, period: Period, by: Sequence[Attribute] = (), where: Where | None = None, *, service: str = ""
    ) -> list[Timeline]:
        """See `CachedHistory.series`: what was known by then."""
        windows = self._windows(metric, by, where, service)
        timelines = [Timeline(t.attributes, tuple(p for p in t.points if p.end <= period.now)) for t in windows]
        return [timeline for timeline in timelines if timeline.points]

    def over(
        self,
        metric: Metric,
        start: float,
        end: float,
        by: Sequence[Attribute] = (),
        where: Where | None = None,
        *,
        service: str = "",
    ) -> list[Timeline]:
        """See `CachedHistory.over`; the reference is the present one."""
        if metric is semconv.REFERENCE_LATENCY:
            return self._history.over(metric, self._end - (end - start), self._end, by, where, service=service)
        joined = []
        for timeline in self._windows(metric, by, where, service):
            points = [point for point in timeline.points if point.start >= start - 1e-3 and point.end <= end + 1e-3]
            if (value := across(metric, points)) is not None:
                joined.append(Timeline(timeline.attributes, (Point(start, end, value),)))
        return joined

    def _windows(self, metric: Metric, by: Sequence[Attribute], where: Where | None, service: str) -> list[Timeline]:
        whole = Period(self._start, self._end, self._end, self._step_s)
        return self._history.windows(metric, whole, by, where, service=service)


def onset(
    history: CachedHistory, period: Period, settings: LiveSettings, service: str, condition: Condition, subject: SubjectFigure
) -> Onset:
    """Since when a condition that is met now has been so, without a moment in between at which it was not.

    Of a service that sends nothing it is the moment of its last metrics. What began is remembered while the condition goes on.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        settings: the settings.
        service: the name of the service.
        condition: the condition.
        subject: for which the condition is met, with its figure.
    """
    if condition.figure is ABSENT:
        moments = history.last_seen(period.now - condition.window_s, period.now)
        newest = moments.get(service) if service else max(moments.values(), default=None)
        return Onset(period.now, period.now) if newest is None else Onset(newest, newest)
    key = "onset", condition.name, tuple(subject.attributes.items()), service
    step_s = max(MINUTE, 2 * history.interval, condition.window_s / _PARTS)
    remembered = history.remembered.get(key)
    if not period.past and remembered is not None and 0 <= period.now - remembered[1] < 2 * step_s:
        history.remembered[key] = remembered[0], period.now
        return cast("Onset", remembered[0])

    def look(until: float, step_s: float, moments: int) -> Onset:
        """Look back from ``until``, at which it is met, at so many moments, this far apart."""
        latest = (math.ceil(until / step_s) - 1) * step_s  # before it: at that moment it is met, whatever its parts say
        start = latest - moments * step_s - (condition.window_s or step_s)
        earlier = _Earlier(history, start, latest, step_s)

        def met(moment: float) -> bool:
            judge = Judge(earlier, replace(period, now=moment), settings, service)
            return subject.attributes in [each.attributes for each in judge.holding(condition)]

        since = until
        for number in range(moments):
            moment = latest - number * step_s
            if not met(moment):
                return Onset(moment, since)
            since = moment
        return Onset(since, since, before=True)

    try:
        began = look(period.now, step_s, _MOMENTS)
    except FiguresUnknownError:  # what the service wrote before cannot be counted
        began = Onset(period.now, period.now, before=True)
    closest_s = max(_CLOSEST_S, 2 * history.interval)
    parts = next((parts for parts in _CLOSER if step_s / parts >= closest_s), 1)
    if parts > 1 and not began.before:
        closer = look(began.since, step_s / parts, 2 * parts)
        began = began if closer.before else closer
    if not period.past:
        history.remembered[key] = began, period.now
    return began
