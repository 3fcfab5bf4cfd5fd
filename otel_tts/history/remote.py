"""History from Prometheus, and Jaeger or Tempo."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from otel_tts import semconv
from otel_tts.history.cardinality import AttributeSet
from otel_tts.history.counted import Counted
from otel_tts.history.http import Backend
from otel_tts.history.places import Place
from otel_tts.history.prometheus import Prometheus
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.rows import Growth
from otel_tts.history.search import TraceBackend
from otel_tts.history.traces import DIGITS, Trace, digits, only
from otel_tts.semconv import Metric
from otel_tts.settings import EVERYWHERE, Selection

_DAY = 86400.0
_KEPT = 14 * _DAY
"""Seconds back from now in which spans are looked for when nobody says since when."""
_LONGEST = 600.0
"""Seconds that a synthesis takes at most: so long before its end a search begins to look for it."""


class RemoteHistory(Counted):
    """A `History` over what Prometheus and a trace backend keep.

    A process that Prometheus did not hear of for more than an hour is taken for a new one, and all it has counted for new. The
    fingerprint of a time is about metrics only: spans that a backend gets much later than them don't change it.

    Args:
        metrics: Prometheus, or what answers its API.
        traces: Jaeger or Tempo.
        source: the two of them, for people.
        interval: seconds between exports of metrics, as the exporting processes have it.
        stores_away: how many of Thanos's stores may be away without anything missing.
        selection: which processes' metrics; ``traces`` has its own.
        kept_s: for how long an answer about metrics is kept for others who ask the same, in seconds.
    """

    def __init__(
        self,
        metrics: Backend,
        traces: TraceBackend,
        source: str,
        *,
        interval: float = 10.0,
        stores_away: int = 0,
        selection: Selection = EVERYWHERE,
        kept_s: float = 0.0,
    ) -> None:
        super().__init__(interval)
        self._prometheus = Prometheus(metrics, interval=interval, stores_away=stores_away, selection=selection, kept_s=kept_s)
        self._traces = traces
        self._source = source

    @property
    def source(self) -> str:
        """See `History.source`."""
        return self._source

    @property
    def began(self) -> float | None:
        """See `History.began`."""
        return self._prometheus.began(time.time())

    @property
    def newest(self) -> float | None:
        """See `History.newest`."""
        return self._prometheus.newest(time.time())

    def last_seen(self, start: float, end: float, metric: Metric = semconv.SYNTHESIS_DURATION) -> Mapping[str, float]:
        """See `History.last_seen`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            metric: by which services are known.
        """
        return self._prometheus.last_seen(start, end, metric)

    def places(self, start: float, end: float) -> list[Place]:
        """See `History.places`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        return self._prometheus.places(start, end)

    def attribute_sets(self, moment: float) -> list[AttributeSet]:
        """See `History.attribute_sets`.

        Args:
            moment: in seconds since the Unix epoch.
        """
        return self._prometheus.attribute_sets(moment)

    @property
    def unreadable(self) -> int:
        """See `History.unreadable`."""
        return self._prometheus.unreadable.count + self._traces.unreadable.count

    def growths(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth]:
        """See `Counted.growths`."""
        return self._prometheus.growths(moments, metrics)

    def requests(self, filter: RequestFilter = EVERYTHING, limit: int = 100) -> list[Request]:
        """See `History.requests`; of more than ``limit`` it is those that began last.

        Args:
            filter: which requests.
            limit: the most of them.
        """
        matching: list[Request] = []
        for page in self._traces.pages(filter, *_bounds(filter)):
            matching += page
            if len(matching) >= limit:
                break
        return sorted(matching, key=lambda request: request.start, reverse=True)[:limit]

    def every_request(self, filter: RequestFilter = EVERYTHING) -> Iterator[Request]:
        """See `History.every_request`.

        Args:
            filter: which requests.
        """
        for page in self._traces.pages(filter, *_bounds(filter)):
            yield from page

    def prepare(
        self, since: float | None = None, until: float | None = None, on_progress: Callable[[int, int], object] | None = None
    ) -> None:
        """See `History.prepare`: there is nothing to be done, backends have their own indexes.

        Args:
            since: from when on, in seconds since the Unix epoch; None: from the beginning.
            until: up to when, in seconds since the Unix epoch; None: up to now.
            on_progress: is called with how many pages were read, and of how many; None: nobody.
        """

    def fingerprint(self, start: float, end: float) -> str:
        """See `History.fingerprint`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        return f"{self._prometheus.exported(start, end):g}"

    def traces(self, trace_ids: Collection[str], since: float, until: float) -> list[Trace]:
        """See `History.traces`.

        Args:
            trace_ids: of the traces, each 32 hexadecimal digits.
            since: from when on, in seconds since the Unix epoch.
            until: up to when, in seconds since the Unix epoch.
        """
        return [trace for trace_id in sorted(trace_ids) if (trace := self._traces.trace(trace_id)) is not None]

    def trace(self, trace_id: str) -> Trace | None:
        """See `History.trace`.

        Args:
            trace_id: 32 hexadecimal digits.
        """
        wanted = digits(trace_id)
        full_id = wanted if len(wanted) == DIGITS else only(wanted, self._traces.ids(wanted, *_bounds(EVERYTHING)))
        return None if full_id is None else self._traces.trace(full_id)


def _bounds(wanted: RequestFilter) -> tuple[float, float]:
    """The moments between which matching requests began."""
    now = time.time()
    since = wanted.since if wanted.since is not None else now - _KEPT
    if wanted.ended_since is not None:
        since = max(since, wanted.ended_since - _LONGEST)
    return since, min(moment for moment in (wanted.until, wanted.ended_before, now + 60) if moment is not None)
