"""The history that stands in local files."""

from __future__ import annotations

import heapq
import json
import math
import re
from collections.abc import Collection, Iterator
from itertools import groupby, islice, pairwise
from pathlib import Path

from otel_tts import semconv
from otel_tts.history.growth import growths
from otel_tts.history.requests import EVERYTHING, Request, RequestFilter
from otel_tts.history.rows import Row, dimension, rows
from otel_tts.history.traces import Span, Trace, spans
from otel_tts.local import files

_LATE = 600.0
"""Seconds after a span's end by which it is certainly written, so far as a search has to look."""


class LocalHistory:
    """A `History` over the files in a directory, which may be written at the same time.

    Args:
        directory: where the files are.
        interval: seconds between exports of metrics, as the writing processes have it.
    """

    def __init__(self, directory: Path, *, interval: float = 10.0) -> None:
        self._directory = directory
        self._interval = interval

    def aggregates(self, start: float, end: float, step: float | None = None, by: Collection[str] = ()) -> list[Row]:
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
        windows = zip(pairwise(moments), growths(self._directory, moments, self._interval), strict=True)
        return [row for (earlier, later), growth in windows for row in rows(growth, earlier, later, split)]

    def totals(self, start: float, end: float) -> Row:
        """See `History.totals`."""
        return self.aggregates(start, end)[0]

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
            if all(needle in line for needle in needles) and (request := files.parse(line)) is not None:
                of_line = [Request.of(span) for span in spans(request) if span.name == semconv.SYNTHESIS_SPAN.name]
                yield from sorted((r for r in of_line if wanted.holds(r)), key=lambda r: r.end, reverse=True)
