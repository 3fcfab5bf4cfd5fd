"""The history with a cache: each query runs once for all viewers of a page, and a window that has ended is never read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any, Literal, TypeVar

from otel_tts import semconv
from otel_tts.errors import OtelTtsError
from otel_tts.history import History, HistoryUnavailableError, Place, Point, Request, RequestFilter, Row, Service, Timeline, Trace
from otel_tts.history.answers import Answers
from otel_tts.history.timelines import across
from otel_tts.history.unavailable import UnreadableHistogramError
from otel_tts.live.view import REFRESHES, Period, View
from otel_tts.promql.recorded import GRID_S
from otel_tts.semconv import Attribute, Instrument, Metric

T = TypeVar("T")
Where = Mapping[Attribute, tuple[str | bool, ...]]
By = Literal["provider", "language"]
_KEPT = 512  # answers; a page asks for twenty or so
_SHARED_S = 120.0
"""Windows of this length and longer begin where those of others do, in seconds."""
_FRACTION = 120
"""The part of a long window by which it may begin earlier."""
_LONG_S, _PART_S, _SETTLED_S = 2700.0, 300.0, 120.0
"""A long window; what is over of it ends at multiples of this; and this long ago, so that rules have recorded it. In seconds."""
_AT_ONCE = 8  # questions that are asked of the source at the same time


class SourceUnavailableError(OtelTtsError):
    """The source does not answer. The message says which, and what to do; ``since`` when it was first seen so.

    Args:
        message: for people.
        since: from when on, in seconds since the Unix epoch.
        answered: whether it had answered before; else it may have been away for longer.
    """

    def __init__(self, message: str, since: float, *, answered: bool = False) -> None:
        super().__init__(message)
        self.since = since
        self.answered = answered


class FiguresUnknownError(SourceUnavailableError):
    """The source answers, but what one service wrote cannot be counted. What is asked of other services is answered."""


class CachedHistory:
    """A history for all pages of a process. Answers are kept, and errors have the time since when the source does not answer.

    Who asks what somebody else is asking waits for that answer, and for no other.

    Args:
        history: where to read.
        wall_clock: gives seconds since the Unix epoch.
    """

    def __init__(self, history: History, wall_clock: Callable[[], float] = time.time) -> None:
        self._history = history
        self._wall_clock = wall_clock
        self._answers = Answers(_KEPT)
        self._lock = Lock()  # pages are drawn in threads of their own
        self._preparing = Lock()
        self._askers = ThreadPoolExecutor(_AT_ONCE, "otel-tts-live")
        self._began: float | None = None
        self._remembered: dict[Hashable, Any] = {}
        self._away_since: float | None = None
        self._answered = False
        self._prepared: float | None = None

    @property
    def source(self) -> str:
        """Where telemetry comes from, for people."""
        return self._history.source

    def period(self, range: str, refresh: int | None) -> Period:
        """One of `view.RANGES` up to now; the same for all viewers within a refresh.

        Args:
            range: the name of a range: see `RANGES`.
            refresh: seconds between two refreshes; None: it stands still.
        """
        every = refresh or 1
        return Period.from_range(range, self._wall_clock() // every * every, self._history.interval)

    def shown(self, view: View) -> Period:
        """The period that a view shows: the time that was chosen, or one of the ranges up to now.

        Args:
            view: what is chosen on the page.
        """
        if (chosen := view.chosen) is not None:
            return Period.between(*chosen, self._history.interval)
        return self.period(view.range, REFRESHES[view.refresh])

    def began(self) -> float | None:
        """The first moment that anything is known of; None when nothing is."""
        if self._began is None:
            self._began = self._asked(lambda: self._history.began)
        return self._began

    def newest(self) -> float | None:
        """The moment of the newest metrics; None when nothing is known. The same for everybody within a second."""
        return self._once(("newest", int(self._wall_clock())), lambda: self._history.newest)

    def last_seen(self, start: float, end: float, metric: Metric = semconv.SYNTHESIS_DURATION) -> Mapping[str, float]:
        """The moment of the newest metrics of each service between two moments, as `History.last_seen`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            metric: by which services are known.
        """
        return self._once(("last_seen", metric.name, start, end), lambda: self._history.last_seen(start, end, metric))

    @property
    def now(self) -> float:
        """The present, in seconds since the Unix epoch."""
        return self._wall_clock()

    @property
    def interval(self) -> float:
        """Seconds between exports of metrics."""
        return self._history.interval

    @property
    def remembered(self) -> dict[Hashable, Any]:
        """Results that stay valid after a refresh, such as since when a condition is met."""
        return self._remembered

    def ask_ahead(self, questions: Iterable[Callable[[], object]]) -> None:
        """Run these queries at the same time, so that their answers are in the cache when a page needs them.

        Figures that are unknown are no error here: whoever needs them is told.

        Args:
            questions: are asked at the same time.

        Raises:
            SourceUnavailableError: the source does not answer one of them.
        """
        for asked in [self._askers.submit(question) for question in questions]:
            with suppress(FiguresUnknownError):
                asked.result()

    def total(self, period: Period, *, service: str = "") -> Row:
        """What happened in the whole period, over everything.

        Args:
            period: the period that is shown.
            service: the name of the service.
        """
        return self._once(
            ("total", period, service),
            lambda: self._history.aggregates(period.start, period.now, service=service or None)[0],
        )

    def providers(self, period: Period, *, service: str = "") -> list[Row]:
        """What happened in the whole period, by provider.

        Args:
            period: the period that is shown.
            service: the name of the service.
        """
        return self._once(
            ("providers", period, service),
            lambda: self._history.aggregates(period.start, period.now, by=["provider"], service=service or None),
        )

    def rows(self, period: Period, *, by: By | None = None, service: str = "") -> list[Row]:
        """What happened in each window, over everything or by one dimension, the window under way included.

        Args:
            period: the period that is shown.
            by: the dimension; None: all together.
            service: the name of the service.
        """

        def rows(start: float, end: float, step_s: float) -> list[Row]:
            return self._history.aggregates(start, end, step_s, [by] if by else [], service=service or None)

        what = "rows", by, service
        over = self._once(
            (*what, period.start, period.closed, period.step_s), lambda: rows(period.start, period.closed, period.step_s)
        )
        under_way = self._once(
            (*what, period.closed, period.now), lambda: rows(period.closed, period.now, period.now - period.closed)
        )
        return [*over, *under_way]

    def series(
        self, metric: Metric, period: Period, by: Sequence[Attribute] = (), where: Where | None = None, *, service: str = ""
    ) -> list[Timeline]:
        """A metric over time, as `History.series`, the window under way included.

        Args:
            metric: the metric.
            period: the period that is shown.
            by: the attributes whose values are told apart.
            where: the values that attributes must have; None: any.
            service: the name of the service.
        """

        def series(start: float, end: float, step_s: float) -> list[Timeline]:
            return self._history.series(metric, start, end, step_s, by, service=service or None, where=where)

        what = ("series", metric.name, tuple(by), tuple((where or {}).items()), service)
        over = self._once(
            (*what, period.start, period.closed, period.step_s), lambda: series(period.start, period.closed, period.step_s)
        )
        under_way = self._once(
            (*what, period.closed, period.now), lambda: series(period.closed, period.now, period.now - period.closed)
        )
        return _joined(over, under_way)

    def windows(
        self, metric: Metric, period: Period, by: Sequence[Attribute] = (), where: Where | None = None, *, service: str = ""
    ) -> list[Timeline]:
        """A metric over time, only in windows that are over.

        Args:
            metric: the metric.
            period: the period that is shown.
            by: the attributes whose values are told apart.
            where: the values that attributes must have; None: any.
            service: the name of the service.
        """
        return self._once(
            (
                "windows",
                metric.name,
                tuple(by),
                tuple((where or {}).items()),
                service,
                period.start,
                period.closed,
                period.step_s,
            ),
            lambda: self._history.series(
                metric, period.start, period.closed, period.step_s, by, service=service or None, where=where
            ),
        )

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
        """A metric between two moments, in one window. Of two minutes or more, it begins at a whole half minute, or a bit earlier.

        What is over of a long window is read again when five more minutes are, and what came since is shared by all long windows.

        Args:
            metric: the metric.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            by: the attributes whose values are told apart.
            where: the values that attributes must have; None: any.
            service: the name of the service.
        """

        def over(start: float, end: float) -> list[Timeline]:
            return self._once(
                ("over", metric.name, tuple(by), tuple((where or {}).items()), service, start, end),
                lambda: self._history.series(metric, start, end, end - start, by, service=service or None, where=where),
            )

        if end - start < _SHARED_S:
            return over(start, end)
        grid_s = max(GRID_S, (end - start) // _FRACTION // GRID_S * GRID_S)
        start = start // grid_s * grid_s
        cut = (end - max(_SETTLED_S, 2 * self.interval)) // _PART_S * _PART_S
        if cut - start < _LONG_S or metric.instrument not in (Instrument.COUNTER, Instrument.HISTOGRAM):
            return over(start, end)
        return _added(metric, start, end, _joined(over(start, cut), over(cut, end)))

    def services(self, period: Period) -> list[Service]:
        """The services that had requests in the period.

        Args:
            period: the period that is shown.
        """
        return self._once(("services", period), lambda: self._history.services(period.start, period.now))

    def places(self, period: Period) -> list[Place]:
        """Where the services run that sent metrics of requests in the period.

        Args:
            period: the period that is shown.
        """
        return self._once(("places", period), lambda: self._history.places(period.start, period.now))

    def prepare(self, period: Period, on_progress: Callable[[int, int], object]) -> None:
        """Read ahead the spans of the period, if they have not been; ``on_progress`` gets the bytes read and their total.

        Args:
            period: the period that is shown.
            on_progress: is called with the bytes that were read, and of how many.
        """
        with self._preparing:
            if self._prepared is None or period.start < self._prepared:
                self._asked(lambda: self._history.prepare(period.start, None, on_progress))
                self._prepared = period.start

    def requests(self, wanted: RequestFilter, limit: int, period: Period) -> list[Request]:
        """The newest requests of the period.

        Args:
            wanted: which requests.
            limit: the most of them.
            period: the period that is shown.
        """
        wanted = replace(wanted, since=period.start, until=period.now if period.past else None)
        return self._once(("requests", wanted, limit, period), lambda: self._history.requests(wanted, limit))

    def trace(self, trace_id: str) -> Trace | None:
        """Give one trace. It is never kept: its last spans may still be on their way.

        Args:
            trace_id: 32 hexadecimal digits.

        Raises:
            ValueError: it is no trace id, or several traces begin with it.
        """
        return self._asked(lambda: self._history.trace(trace_id))

    def _once(self, key: Hashable, question: Callable[[], T]) -> T:
        return self._answers.get(key, lambda: self._asked(question))

    def _asked(self, question: Callable[[], T]) -> T:
        try:
            answer = question()
        except UnreadableHistogramError as error:
            self._away_since, self._answered = None, True
            raise FiguresUnknownError(str(error), self._wall_clock(), answered=True) from None
        except (HistoryUnavailableError, PermissionError) as error:
            with self._lock:
                since = self._away_since = self._away_since or self._wall_clock()
            raise SourceUnavailableError(str(error), since, answered=self._answered) from None
        self._away_since, self._answered = None, True
        return answer


def _joined(over: Sequence[Timeline], under_way: Sequence[Timeline]) -> list[Timeline]:
    """Join timelines by their attributes. One that is missing on a side has windows without a value there."""
    pairs: dict[tuple[tuple[str, str | bool], ...], tuple[Timeline | None, Timeline | None]] = {}
    for timeline in over:
        pairs[tuple(timeline.attributes.items())] = timeline, None
    for timeline in under_way:
        key = tuple(timeline.attributes.items())
        pairs[key] = pairs.get(key, (None, None))[0], timeline
    before = _empty(over)
    after = _empty(under_way)
    return [
        Timeline(dict(key), (*(first.points if first else before), *(second.points if second else after)))
        for key, (first, second) in sorted(pairs.items(), key=lambda item: tuple(str(value) for _, value in item[0]))
    ]


def _empty(timelines: Sequence[Timeline]) -> tuple[Point, ...]:
    return tuple(Point(point.start, point.end, None) for point in timelines[0].points) if timelines else ()


def _added(metric: Metric, start: float, end: float, timelines: Sequence[Timeline]) -> list[Timeline]:
    """Timelines with one window."""
    return [replace(timeline, points=(Point(start, end, across(metric, timeline.points)),)) for timeline in timelines]
