"""The history that stands in local files."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import groupby, islice, pairwise
from pathlib import Path

from otel_tts import semconv
from otel_tts.history.growth import began, growths
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.rows import Growth, Row, dimension, rows
from otel_tts.history.services import Service, of_service, services
from otel_tts.history.traces import Span, Trace, spans
from otel_tts.local import files

_LATE = 600.0
"""Seconds after a span's end by which it is certainly written, so far as a search has to look."""
_END = re.compile(rb'"endTimeUnixNano":"?(\d+)')


class LocalHistory:
    """A `History` over the files in a directory, which may be written at the same time.

    Args:
        directory: where the files are.
        interval: seconds between exports of metrics, as the writing processes have it.
    """

    def __init__(self, directory: Path, *, interval: float = 10.0) -> None:
        self._directory = directory
        self._interval = interval
        self._spoilt: set[int] = set()

    @property
    def interval(self) -> float:
        """See `History.interval`."""
        return self._interval

    @property
    def began(self) -> float | None:
        """See `History.began`."""
        return began(self._directory)

    @property
    def unreadable(self) -> int:
        """See `History.unreadable`."""
        return len(self._spoilt)

    def aggregates(
        self,
        start: float,
        end: float,
        step: float | None = None,
        by: Collection[str] = (),
        *,
        service: str | None = None,
        version: str | None = None,
    ) -> list[Row]:
        """See `History.aggregates`."""
        split = dimension(by)
        step = end - start if step is None else step
        if step < 2 * self._interval:
            raise ValueError(
                f"A window of {step:g} s may not hold two exports of metrics, which come every {self._interval:g} s: "
                f"ask for {2 * self._interval:g} s or more."
            )
        count = math.floor((end - start) / step + 1e-9)
        moments = [end - number * step for number in range(count, -1, -1)]
        windows = zip(pairwise(moments), self._growths(moments), strict=True)
        return [
            row
            for (earlier, later), growth in windows
            for row in rows(of_service(growth, service, version), earlier, later, split)
        ]

    def totals(self, start: float, end: float) -> Row:
        """See `History.totals`."""
        return self.aggregates(start, end)[0]

    def services(self, start: float, end: float, *, version: str | None = None) -> list[Service]:
        """See `History.services`."""
        return services(of_service(self._growths([start, end])[0], version=version))

    def requests(self, filter: RequestFilter = EVERYTHING, limit: int = 100) -> list[Request]:
        """See `History.requests`."""
        until = None if filter.until is None else filter.until + _LATE
        partitions = files.partitions(self._directory, "traces", filter.since, until)
        newest_first = (
            request
            for _, hour in groupby(reversed(partitions), key=lambda partition: partition.hour)
            for request in heapq.merge(*(self._of_file(p.path, filter) for p in hour), key=lambda r: r.end, reverse=True)
        )
        return sorted(islice(newest_first, limit), key=lambda request: request.end, reverse=True)

    def every_request(self, filter: RequestFilter = EVERYTHING) -> Iterator[Request]:
        """See `History.every_request`."""
        since = max((moment for moment in (filter.since, filter.ended_since) if moment is not None), default=None)
        until = min((moment + _LATE for moment in (filter.until, filter.ended_before) if moment is not None), default=None)
        for partition in files.partitions(self._directory, "traces", since, until):
            for _, line in files.lines(partition.path):
                if self._between(line, filter.ended_since, filter.ended_before):
                    yield from self._of_line(line, filter)

    def fingerprint(self, start: float, end: float) -> str:
        """See `History.fingerprint`."""
        known = hashlib.sha256()
        for signal in ("metrics", "traces"):
            for partition in files.partitions(self._directory, signal, start - self._interval, end + _LATE):
                with suppress(FileNotFoundError):
                    known.update(f"{partition.path.name} {partition.path.stat().st_size}\n".encode())
        return known.hexdigest()

    def traces(self, trace_ids: Collection[str], since: float, until: float) -> list[Trace]:
        """See `History.traces`."""
        found: dict[str, list[Span]] = {}
        needles = [trace_id.encode() for trace_id in trace_ids]
        for partition in files.partitions(self._directory, "traces", since - _LATE, until + _LATE):
            for _, line in files.lines(partition.path):
                if any(needle in line for needle in needles) and (request := files.parse(line)) is not None:
                    for span in spans(request):
                        if span.trace_id in trace_ids:
                            found.setdefault(span.trace_id, []).append(span)
        return [trace for _, of_trace in sorted(found.items()) if (trace := Trace.of(of_trace)) is not None]

    def trace(self, trace_id: str) -> Trace | None:
        """See `History.trace`."""
        wanted = trace_id.strip().lower()
        if not re.fullmatch("[0-9a-f]{8,32}", wanted):
            raise ValueError(f"{trace_id!r} is no trace id: it takes 32 hexadecimal digits, or the first 8 or more of them.")
        found: list[Span] = []
        needle = f'"traceId":"{wanted}'.encode()
        for partition in reversed(files.partitions(self._directory, "traces")):
            if len(wanted) == 32 and found and partition.end + files.HOUR < min(span.start for span in found):
                break  # all of it has been written later
            for _, line in files.lines(partition.path):
                if needle in line and (request := files.parse(line)) is not None:
                    found += [span for span in spans(request) if span.trace_id.startswith(wanted)]
        if len(ids := {span.trace_id for span in found}) > 1:
            raise ValueError(f"{len(ids)} traces begin with {wanted!r}: {', '.join(sorted(ids)[:5])}. Give more digits.")
        return Trace.of(found)

    def _of_file(self, path: Path, wanted: RequestFilter) -> Iterator[Request]:
        """The wanted requests of a file, in the order in which they ended, the last first."""
        needles = [
            json.dumps(value).encode() for value in (semconv.SYNTHESIS_SPAN.name, wanted.outcome, wanted.provider) if value
        ]
        for line in files.lines_backwards(path):
            if all(needle in line for needle in needles):
                yield from sorted(self._of_line(line, wanted), key=lambda r: r.end, reverse=True)

    def _of_line(self, line: bytes, wanted: RequestFilter) -> Iterator[Request]:
        export = files.parse(line)
        if export is None:
            self._spoilt.add(hash(line))
            return
        for span in spans(export, semconv.SYNTHESIS_SPAN.name):
            if wanted.holds(request := Request.of(span)):
                yield request

    @staticmethod
    def _between(line: bytes, since: float | None, before: float | None) -> bool:
        """Whether a span on the line may have ended then; a line that has no end of a span at all may be spoilt."""
        ends = [int(end) / 1e9 for end in _END.findall(line)]
        return not ends or ((since is None or max(ends) >= since) and (before is None or min(ends) < before))

    def _growths(self, moments: Sequence[float]) -> Sequence[Growth]:
        return growths(self._directory, moments, self._interval, lambda line: self._spoilt.add(hash(line)))
