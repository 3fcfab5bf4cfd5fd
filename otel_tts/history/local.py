"""History from local files."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path

from otel_tts import files, semconv
from otel_tts.distribution import Distribution
from otel_tts.files import Partition
from otel_tts.history.answers import Answers
from otel_tts.history.cardinality import BY_NAME, LOOKBACK_S, SUM_AND_COUNT, AttributeSet
from otel_tts.history.counted import Counted
from otel_tts.history.growth import Reading, SeriesKey, began, growths, last_seen, newest_states
from otel_tts.history.index import Index
from otel_tts.history.lines import Lines
from otel_tts.history.native import Unbounded
from otel_tts.history.otlp import Unreadable
from otel_tts.history.partitions import is_readable, partitions, readable
from otel_tts.history.places import Place, local_places
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.rows import Growth
from otel_tts.history.traces import DIGITS, Span, Trace, digits, only, spans
from otel_tts.promql import sanitized
from otel_tts.semconv import Metric
from otel_tts.settings import EVERYWHERE, Selection

_SHARED = 32
"""Windows of which what all services counted is kept."""
_LATE_S = 600.0
"""Seconds after a span's end by which it is certainly written, so far as a search has to look."""


class LocalHistory(Counted):
    """A `History` over the files in a directory, which may be written at the same time.

    Args:
        directory: where the files are.
        interval: seconds between exports of metrics, as the writing processes have it.
        selection: which processes' telemetry.
        kept_s: for how long what grew between two moments is kept for others who ask the same, in seconds; 0: not at all.
    """

    def __init__(
        self, directory: Path, *, interval: float = 10.0, selection: Selection = EVERYWHERE, kept_s: float = 0.0
    ) -> None:
        super().__init__(interval)
        self._shared = Answers(_SHARED, kept_s) if kept_s else None
        self._directory = directory
        self._selection = selection
        self._lines = Lines(selection)
        self._index = Index(directory, selection)
        self._traces_unreadable = Unreadable()

    @property
    def source(self) -> str:
        """See `History.source`."""
        return f"local files in {self._directory}{selected(self._selection)}"

    @property
    def began(self) -> float | None:
        """See `History.began`."""
        return began(self._directory, self._lines)

    @property
    def newest(self) -> float | None:
        """See `History.newest`."""
        written = partitions(self._directory, "metrics")
        latest = max(written, key=lambda partition: partition.start, default=None)
        if latest is None:
            return None
        if not self._selection:
            return self._lines.newest([partition for partition in written if partition.hour == latest.hour])
        for start in (latest.start - files.HOUR, 0.0):  # what runs is found without reading what is older
            states = newest_states(self._directory, start, latest.end + files.HOUR, BY_NAME, self._lines)
            if moments := [time for time, snapshot in states if snapshot]:
                return max(moments)
        return None

    def last_seen(self, start: float, end: float, metric: Metric = semconv.SYNTHESIS_DURATION) -> Mapping[str, float]:
        """See `History.last_seen`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            metric: by which services are known.
        """
        return last_seen(self._directory, start, end, self._lines, metric)

    def places(self, start: float, end: float) -> list[Place]:
        """See `History.places`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        return local_places(self._directory, start, end, self._lines)

    def attribute_sets(self, moment: float) -> list[AttributeSet]:
        """See `History.attribute_sets`.

        Args:
            moment: in seconds since the Unix epoch.
        """
        start = moment - max(LOOKBACK_S, 2 * self._interval_s)
        newest_first = sorted(
            newest_states(self._directory, start, moment, BY_NAME, self._lines), key=lambda state: state[0], reverse=True
        )
        sets: dict[SeriesKey, AttributeSet] = {}  # of a process that began again under its old name, each counts once
        for _, snapshot in newest_first:
            for key, reading in snapshot.items():
                sets.setdefault(key, _attribute_set(key, reading))
        return list(sets.values())

    @property
    def unreadable(self) -> int:
        """See `History.unreadable`."""
        return self._lines.spoilt + self._index.spoilt + self._traces_unreadable.count

    def growths(self, moments: Sequence[float], metrics: Collection[Metric]) -> Sequence[Growth]:
        """See `Counted.growths`. What one service asks of a window is read for all of them."""

        def read() -> Sequence[Growth]:
            return growths(self._directory, moments, self._interval_s, metrics, self._lines)

        if self._shared is None or len(moments) > 2:
            return read()
        return self._shared.get((tuple(moments), tuple(metric.name for metric in metrics)), read)

    def requests(self, filter: RequestFilter = EVERYTHING, limit: int = 100) -> list[Request]:
        """See `History.requests`.

        Args:
            filter: which requests.
            limit: the most of them.
        """
        newest_first = (
            request
            for _, hour in groupby(reversed(self._traces(filter)), key=lambda partition: partition.hour)
            for request in heapq.merge(
                *(self._index.columns(p).latest(filter, limit) for p in hour), key=lambda r: r.end, reverse=True
            )
        )
        return sorted(islice(newest_first, limit), key=lambda request: request.start, reverse=True)

    def every_request(self, filter: RequestFilter = EVERYTHING) -> Iterator[Request]:
        """See `History.every_request`.

        Args:
            filter: which requests.
        """
        for partition in self._traces(filter):
            columns = self._index.columns(partition)
            yield from columns.requests(columns.wanted(filter))

    def prepare(
        self, since: float | None = None, until: float | None = None, on_progress: Callable[[int, int], object] | None = None
    ) -> None:
        """See `History.prepare`: reads the traces files into the index, progress being in bytes.

        Args:
            since: from when on, in seconds since the Unix epoch; None: from the beginning.
            until: up to when, in seconds since the Unix epoch; None: up to now.
            on_progress: is called with how many files were read, and of how many; None: nobody.
        """
        self._index.tidy(partitions(self._directory, "traces"))
        sizes = {}
        for partition in self._traces(RequestFilter(since=since, until=until)):
            with suppress(FileNotFoundError):
                sizes[partition] = partition.path.stat().st_size
        done = 0
        for partition, size in sizes.items():
            self._index.columns(partition)
            done += size
            if on_progress is not None:
                on_progress(done, sum(sizes.values()))

    def fingerprint(self, start: float, end: float) -> str:
        """See `History.fingerprint`.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        digest = hashlib.sha256()
        for signal in ("metrics", "traces"):
            for partition in partitions(self._directory, signal, start - self._interval_s, end + _LATE_S):
                with suppress(FileNotFoundError):
                    digest.update(f"{partition.path.name} {partition.path.stat().st_size}\n".encode())
        return digest.hexdigest()

    def traces(self, trace_ids: Collection[str], since: float, until: float) -> list[Trace]:
        """See `History.traces`.

        Args:
            trace_ids: of the traces, each 32 hexadecimal digits.
            since: from when on, in seconds since the Unix epoch.
            until: up to when, in seconds since the Unix epoch.
        """
        by_trace: dict[str, list[Span]] = {}
        needles = [trace_id.encode() for trace_id in trace_ids]
        for partition in partitions(self._directory, "traces", since - _LATE_S, until + _LATE_S):
            for _, line in readable(partition.path):
                if any(needle in line for needle in needles) and (request := files.parse(line)) is not None:
                    for span in spans(request, Unreadable(), selection=self._selection):
                        if span.trace_id in trace_ids:
                            by_trace.setdefault(span.trace_id, []).append(span)
        return [trace for _, of_trace in sorted(by_trace.items()) if (trace := Trace.from_spans(of_trace)) is not None]

    def trace(self, trace_id: str) -> Trace | None:
        """See `History.trace`.

        Args:
            trace_id: 32 hexadecimal digits.
        """
        wanted = digits(trace_id)
        matching: list[Span] = []
        needle = f'"traceId":"{wanted}'.encode()
        unreadable = self._traces_unreadable = Unreadable()
        for partition in reversed(partitions(self._directory, "traces")):
            if len(wanted) == DIGITS and matching and partition.end + files.HOUR < min(span.start for span in matching):
                break  # all of it has been written later
            unreadable.count += not is_readable(partition.path)
            for _, line in readable(partition.path):
                if needle in line:
                    if (request := files.parse(line)) is not None:
                        matching += [
                            span
                            for span in spans(request, unreadable, selection=self._selection)
                            if span.trace_id.startswith(wanted)
                        ]
                    else:
                        unreadable.count += 1
        only(wanted, {span.trace_id for span in matching})
        return Trace.from_spans(matching)

    def _traces(self, wanted: RequestFilter) -> list[Partition]:
        """The files that may hold matching requests."""
        since = max((moment for moment in (wanted.since, wanted.ended_since) if moment is not None), default=None)
        until = min((moment + _LATE_S for moment in (wanted.until, wanted.ended_before) if moment is not None), default=None)
        return partitions(self._directory, "traces", since, until)


def _attribute_set(key: SeriesKey, reading: Reading) -> AttributeSet:
    process, name, attributes = key
    labels = {sanitized(attribute): str(value) for attribute, value in attributes}
    has_buckets = isinstance(reading.value, Distribution) and not isinstance(reading.value, Unbounded)
    buckets = len(reading.value.buckets) if isinstance(reading.value, Distribution) and has_buckets else 0
    return AttributeSet(BY_NAME[name], process[1], process, labels, buckets, buckets + SUM_AND_COUNT if buckets else 1)


def selected(selection: Selection) -> str:
    """What a source's name ends with where only some processes are read.

    Args:
        selection: which processes.
    """
    return f" (only {selection})" if selection else ""
