"""Searching a trace backend for syntheses, a page at a time, whichever it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

from otel_tts.history.http import Backend
from otel_tts.history.otlp import Unreadable
from otel_tts.history.requests import Request, RequestFilter
from otel_tts.history.traces import Trace
from otel_tts.settings import EVERYWHERE, Selection

_PAGE = 1000
"""Traces that one search may find before its time is cut in halves."""
_HOUR = 3600


class TraceBackend(ABC):
    """A server that keeps traces.

    What it answers is whole, or an error: a part is never taken for all.

    Raises:
        HistoryUnavailableError: from every method, when it does not answer, not as it should, or only in part.
    """

    def __init__(self, backend: Backend, selection: Selection = EVERYWHERE) -> None:
        """``backend``: how it is reached. ``selection``: which processes' spans."""
        self._backend = backend
        self._selection = selection
        self.unreadable = Unreadable()
        """What it answered and could not be read: it was left out."""

    @abstractmethod
    def trace(self, trace_id: str) -> Trace | None:
        """One trace by its 32 digits; None when nothing is known of it.

        Args:
            trace_id: 32 hexadecimal digits.
        """

    @abstractmethod
    def ids(self, prefix: str, start: float, end: float) -> set[str]:
        """The ids with this beginning of traces between two moments, or a few of them.

        Args:
            prefix: the first digits of a trace id.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """

    @abstractmethod
    def search(self, wanted: RequestFilter, start: int, end: int, limit: int) -> tuple[list[Request], bool]:
        """Syntheses that began between two moments, at least all that are wanted; and whether the search came to its end.

        It did not when it found as many traces as ``limit`` allows: then there may be more.

        Args:
            wanted: which requests.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            limit: the most of them.
        """

    def pages(self, wanted: RequestFilter, start: float, end: float) -> Iterator[list[Request]]:
        """All wanted syntheses that began between two moments, in pages from the latest to the earliest.

        Args:
            wanted: which requests.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """
        pending = list(windows(start, end))[::-1]
        while pending:
            first, last = pending.pop()
            limit = _PAGE
            requests, complete = self.search(wanted, first, last, limit)
            if not complete and last - first > 1:
                middle = (first + last) // 2
                pending += [(first, middle), (middle, last)]
                continue
            while not complete:  # Tempo knows no shorter time than a second
                limit *= 4
                requests, complete = self.search(wanted, first, last, limit)
            yield [request for request in requests if first <= request.start < last and wanted.holds(request)]


def windows(start: float, end: float) -> Iterator[tuple[int, int]]:
    """The time between two moments in whole seconds, the latest first: an hour, and then more and more, up to a day.

    Args:
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
    """
    first, last, length = math.floor(start), math.ceil(end), _HOUR
    while last > first:
        yield max(first, last - length), last
        last, length = last - length, min(4 * length, 24 * _HOUR)
