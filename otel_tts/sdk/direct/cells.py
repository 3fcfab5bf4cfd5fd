"""Histograms of our own: a cell for each attribute set, which readers turn into the SDK's public data points.

A cell keeps what was recorded since any reader last collected. When a reader collects, that is added to the account of every reader; the
reader then reads its own account, and resets it (delta) or keeps it (cumulative). So recording costs the same for any number of readers,
and each gets what the SDK's aggregation would give: counts, sum, smallest and largest value, and the latest exemplar of each bucket.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import RLock
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags, get_current_span
from opentelemetry.util.types import Attributes

from otel_tts.core.alone import run_alone
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.sdk.direct.span import Span, Unrecorded

_PATIENCE_S = 0.2
"""How long a reader waits for a thread that is recording: that takes microseconds, unless a signal handler interrupts it."""
_MANY = 16
"""How many values wait until they are added together: that takes less time than one by one."""


_Measurement: TypeAlias = tuple[float, int, SpanContext | None]
"""A value, the time at which it was recorded (nanoseconds since the Unix epoch), and the context of the span; 0 and None: not sampled."""


class _Sums:
    """The aggregated values."""

    __slots__ = ("counts", "exemplars", "least", "most", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total: float = 0
        self.least = math.inf
        self.most = -math.inf
        self.exemplars: dict[int, _Measurement] = {}

    def plus(self, other: _Sums) -> _Sums:
        sums = _Sums(0)
        sums.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        sums.total = other.total + self.total
        sums.least = min(self.least, other.least)
        sums.most = max(self.most, other.most)
        sums.exemplars = self.exemplars | other.exemplars
        return sums

    def is_empty(self) -> bool:
        return not any(self.counts)


class Account:
    """The values of one cell that a reader has not reset.

    Args:
        sums: the values.
        start_ns: since when, nanoseconds since the Unix epoch.
    """

    __slots__ = ("start_ns", "sums")

    def __init__(self, sums: _Sums, start_ns: int) -> None:
        self.sums = sums
        self.start_ns = start_ns


class Cell:
    """The histogram of one attribute set.

    Recording never waits: a value is put into a queue, and added to the sums with the others when there are some, or a reader collects.
    If another thread is adding (or this thread is, and a signal handler or finaliser has interrupted it), that adds this one, too.

    Args:
        attributes: of the point.
        bounds: upper bounds of the buckets, in the metric's unit.
        readers: of the meter provider.
    """

    __slots__ = ("_accounts", "_bounds", "_lock", "_recent", "_waiting", "attributes", "forward")

    def __init__(self, attributes: Attributes, bounds: Sequence[float], readers: Iterator[Any] | Sequence[Any]) -> None:
        self.attributes = attributes
        self.forward: Callable[[float, Context | None], None] | None = None
        """A function that gets each value, too: it passes it to the SDK, for readers that cannot read cells."""
        self._bounds = bounds
        self._lock = RLock()
        self._recent = _Sums(len(bounds) + 1)
        self._waiting: deque[_Measurement] = deque()
        now_ns = time.time_ns()
        self._accounts = {reader: Account(_Sums(len(bounds) + 1), now_ns) for reader in readers}

    def record(self, value: float, context: Context | None) -> None:
        """Record a value: finite, 0 or more. With a sampled span in ``context`` it becomes an exemplar."""
        span: Any = context.get(SPAN_KEY) if context is not None else get_current_span()
        kind = type(span)
        measurement: _Measurement
        if kind is Unrecorded or (kind is Span and not span.sampled):
            measurement = value, 0, None
        elif kind is Span:
            measurement = value, time.time_ns(), span._context  # noqa: SLF001 - a property is a call
        else:
            span_context = get_current_span(context).get_span_context()
            sampled = span_context.trace_flags & TraceFlags.SAMPLED
            measurement = (value, time.time_ns(), span_context) if sampled else (value, 0, None)
        waiting = self._waiting
        waiting.append(measurement)
        if len(waiting) >= _MANY:
            run_alone(self._lock, self._fold)
        if self.forward is not None:
            self.forward(value, context)

    def _fold(self) -> None:
        """Add the values in the queue to the sums. The caller has the lock.

        A value leaves the queue when it is in the sums, and in between no function is called: so what a signal handler raises loses none.
        """
        waiting, bounds, sums = self._waiting, self._bounds, self._recent
        counts, exemplars = sums.counts, sums.exemplars
        while waiting:  # only the holder of the lock takes from it
            measurement = waiting[0]
            value = measurement[0]
            bucket = bisect_left(bounds, value)
            counts[bucket] += 1
            sums.total += value
            if value < sums.least:
                sums.least = value
            if value > sums.most:
                sums.most = value
            if measurement[2] is not None:
                exemplars[bucket] = measurement
            waiting.popleft()

    def open(self, reader: object, now_ns: int) -> None:
        """Start an account for a reader.

        Args:
            reader: the metric reader.
            now_ns: the time of the export, in nanoseconds since the epoch.
        """
        run_alone(self._lock, partial(self._open, reader, now_ns), _PATIENCE_S)

    def _open(self, reader: object, now_ns: int) -> None:
        self._settle()
        self._accounts[reader] = Account(_Sums(len(self._bounds) + 1), now_ns)

    def close(self, reader: object) -> None:
        """Remove the account of a reader.

        Args:
            reader: the metric reader.
        """
        run_alone(self._lock, partial(self._close, reader), _PATIENCE_S)

    def _close(self, reader: object) -> None:
        self._accounts.pop(reader, None)

    def _settle(self) -> None:
        """Add the recent values to the accounts: to all or, if a signal handler raises, to none. The caller has the lock."""
        self._fold()
        if not self._recent.is_empty():
            accounts = {key: Account(old.sums.plus(self._recent), old.start_ns) for key, old in self._accounts.items()}
            recent = _Sums(len(self._bounds) + 1)
            self._recent, self._accounts = recent, accounts

    def collect(
        self, reader: object, temporality: AggregationTemporality, now_ns: int, since_ns: int | None
    ) -> HistogramDataPoint | None:
        """Return the reader's data point; None without values.

        Args:
            reader: the metric reader.
            temporality: of the exporter.
            now_ns: the time of the export, in nanoseconds since the epoch.
            since_ns: when it collected before, in nanoseconds since the epoch; None: never.
        """
        points: list[HistogramDataPoint | None] = []

        def settle_and_read() -> None:
            self._settle()
            points.append(self._read(reader, temporality, now_ns, since_ns))

        if not run_alone(self._lock, settle_and_read, _PATIENCE_S):
            return self._read(reader, temporality, now_ns, since_ns)  # what is settled: the rest comes with the next collection
        return points[0]

    def _read(
        self, reader: object, temporality: AggregationTemporality, now_ns: int, since_ns: int | None
    ) -> HistogramDataPoint | None:
        account = self._accounts.get(reader)
        if account is None or account.sums.is_empty():
            return None
        sums, start_ns = account.sums, account.start_ns
        if temporality is AggregationTemporality.DELTA:
            account.sums = _Sums(len(self._bounds) + 1)
            start_ns = max(start_ns, since_ns or 0)
        point = HistogramDataPoint(
            attributes=self.attributes,
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            count=sum(sums.counts),
            sum=sums.total,
            bucket_counts=tuple(sums.counts),
            explicit_bounds=self._bounds,
            min=sums.least,
            max=sums.most,
            exemplars=[_exemplar(sums.exemplars[bucket], self.attributes) for bucket in sorted(sums.exemplars)],
        )
        sums.exemplars = {}
        return point


def _exemplar(measurement: _Measurement, attributes: Attributes) -> Exemplar:
    value, time_ns, context = measurement
    span = context or INVALID_SPAN_CONTEXT  # only those of sampled spans are kept
    # The first argument: attributes of the measurement that its data point does not have. Here both have the same.
    return Exemplar({} if attributes else None, value, time_ns, span.span_id, span.trace_id)
