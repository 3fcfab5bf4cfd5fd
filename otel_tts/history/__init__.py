"""Reading telemetry back: how much there was (from metrics), which requests (from spans), and one trace.

Every source answers the same questions alike; readers know `History` only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, Protocol

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.history.cardinality import AttributeSet
from otel_tts.history.frames import to_frame
from otel_tts.history.local import LocalHistory, selected
from otel_tts.history.places import Place, added_up
from otel_tts.history.requests import Problem, Request, RequestFilter
from otel_tts.history.rows import Row
from otel_tts.history.services import Service
from otel_tts.history.timelines import By, Point, Timeline, Where
from otel_tts.history.traces import Event, Link, Span, Trace
from otel_tts.history.unavailable import HistoryUnavailableError
from otel_tts.semconv import Metric
from otel_tts.settings import HistorySettings

__all__ = [
    "AttributeSet",
    "Distribution",
    "Event",
    "History",
    "HistoryUnavailable",
    "HistoryUnavailableError",
    "Link",
    "Place",
    "Point",
    "Problem",
    "Request",
    "RequestFilter",
    "Row",
    "Service",
    "Span",
    "Timeline",
    "Trace",
    "added_up",
    "open_history",
    "to_frame",
]

HistoryUnavailable = HistoryUnavailableError  # its name before 1.0


class History(Protocol):
    """Telemetry of the past. Moments are seconds since the Unix epoch.

    Every method raises `HistoryUnavailableError` when the source does not answer.
    """

    @property
    def source(self) -> str:
        """Where it comes from, for people: "local files in DIRECTORY" or "Prometheus at URL and Jaeger at URL"."""

    @property
    def interval(self) -> float:
        """Seconds between exports of metrics: no count is more exact in time."""

    @property
    def began(self) -> float | None:
        """The first moment that anything is known of; None when nothing is."""

    @property
    def newest(self) -> float | None:
        """The moment of the newest metrics that arrived; None when nothing is known. It says whether what is read is of now."""

    def last_seen(self, start: float, end: float, metric: Metric = semconv.SYNTHESIS_DURATION) -> Mapping[str, float]:
        """The moment of the newest metrics of each service that sent some of requests between two moments, by ``service.name``.

        Args:
            start: the first moment.
            end: the last one.
            metric: by which services are known: by default that of requests for which somebody waits.
        """

    def places(self, start: float, end: float) -> list[Place]:
        """Where services run that exported metrics of requests between two moments: what there is to select from.

        Args:
            start: the first moment.
            end: the last one.
        """

    def attribute_sets(self, moment: float) -> list[AttributeSet]:
        """The attribute sets of all metrics that processes exported shortly before a moment, and how many series each makes.

        Args:
            moment: in seconds since the Unix epoch.
        """

    @property
    def unreadable(self) -> int:
        """How many fields, spans, lines or files turned out to be unreadable so far. They were left out, and only they."""

    def aggregates(
        self,
        start: float,
        end: float,
        step: float | None = None,
        by: Collection[Literal["provider", "language"]] = (),
        *,
        service: str | None = None,
        version: str | None = None,
    ) -> list[Row]:
        """Rows of what happened in each window of ``step`` seconds, oldest first.

        Windows are counted back from ``end``; what is left at the start and shorter than a step is left out.

        Args:
            start: the first moment.
            end: the last one.
            step: the length of a window, in seconds; without it there is one window.
            by: gives a row for each provider, or for each language, that had traffic in the window; without it there is one row for
                each window, over everything. That is a question of its own: quantiles of parts don't add up.
            service: only what processes of that ``service.name`` counted.
            version: only what processes of that ``service.version`` counted.

        Raises:
            ValueError: a window is shorter than two export intervals, or ``by`` names both: no metric has both.
        """

    def totals(self, start: float, end: float) -> Row:
        """What happened between two moments, over everything.

        Args:
            start: the first moment.
            end: the last one.
        """

    def services(self, start: float, end: float, *, version: str | None = None) -> list[Service]:
        """The services that had requests between two moments, by name.

        Args:
            start: the first moment.
            end: the last one.
            version: only what processes of that ``service.version`` counted.
        """

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
        """One metric over time: a timeline for each combination of values of the attributes ``by``, a point for each window.

        Windows are as in `aggregates`. What a point says is its instrument's: of a counter how much it grew in the window, of a
        histogram the `Distribution` of the values that came, of a gauge or up-down counter the last level known in the window.
        Processes are put together: counts and up-down counters as their sum, gauges as the most of them; of
        ``semconv.PROVIDER_AVAILABLE`` it is the share of processes that can use the provider. A point without a value is a window in
        which nothing was exported; a combination that never was has no timeline, so without ``by`` there is one or none.

        Args:
            metric: one of `semconv.METRICS`.
            start: the first moment.
            end: the last one.
            step: the length of a window, in seconds.
            by: attributes of the metric, or their keys (``["tts.outcome"]``); those that a series lacks are "" in its timeline. The
                application's own attributes are in `requests` only.
            service: only of processes with that ``service.name``.
            where: only series whose attributes, which may be named by their keys, have one of those values each.

        Raises:
            ValueError: a window is shorter than two export intervals, or the metric lacks an attribute.
        """

    def requests(self, filter: RequestFilter = ..., limit: int = 100) -> list[Request]:
        """Syntheses that spans were kept of, the one that began last first.

        Args:
            filter: which ones; by default all.
            limit: how many at most.
        """

    def every_request(self, filter: RequestFilter = ...) -> Iterator[Request]:
        """All syntheses that spans were kept of, in no particular order, without holding more than a few in memory.

        Args:
            filter: which ones; by default all.
        """

    def prepare(
        self, since: float | None = None, until: float | None = None, on_progress: Callable[[int, int], object] | None = None
    ) -> None:
        """Read ahead what spans tell of a time, so that questions about it are answered fast.

        Without this they are too, but the first may take its time.

        Args:
            since: the first moment; by default the beginning.
            until: the last one; by default now.
            on_progress: called with how much is done, and of how much.
        """

    def fingerprint(self, start: float, end: float) -> str:
        """Something that changes when what is known of the time between two moments does. It may change without.

        Args:
            start: the first moment.
            end: the last one.
        """

    def traces(self, trace_ids: Collection[str], since: float, until: float) -> list[Trace]:
        """The traces whose spans ended between two moments or a little before or after.

        Args:
            trace_ids: 32 hexadecimal digits each.
            since: the first moment.
            until: the last one.
        """

    def trace(self, trace_id: str) -> Trace | None:
        """One trace; None when nothing is known of it.

        Args:
            trace_id: 32 hexadecimal digits, or the first 8 or more of them.

        Raises:
            ValueError: it is no such thing, or several traces begin with it.
        """


def open_history(settings: HistorySettings | None = None, kept_s: float = 0.0) -> History:
    """Open the history that the settings point to: Prometheus and Jaeger or Tempo where one of them has an address, else local files.

    Args:
        settings: by default those of the environment, as the commands take them.
        kept_s: for how long answers are kept for others who ask the same, in seconds; for a page with many questions.

    Raises:
        SettingError: both trace backends have an address, or a variable has a value that is not allowed.
    """
    settings = HistorySettings.load() if settings is None else settings
    if not settings.has_backends:
        return LocalHistory(settings.data_dir, interval=settings.export_interval, selection=settings.selection, kept_s=kept_s)
    from otel_tts.history.http import Backend
    from otel_tts.history.jaeger import Jaeger
    from otel_tts.history.remote import RemoteHistory
    from otel_tts.history.tempo import Tempo

    metrics, server = Backend(settings.prometheus), Backend(settings.traces)
    traces = {"jaeger": Jaeger, "tempo": Tempo}[settings.trace_backend](server, settings.selection)
    return RemoteHistory(
        metrics,
        traces,
        f"{metrics.source} and {server.source}{selected(settings.selection)}",
        interval=settings.export_interval,
        stores_away=settings.prometheus.stores_away,
        selection=settings.selection,
        kept_s=kept_s,
    )
