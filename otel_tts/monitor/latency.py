"""Latencies as a histogram counted them."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.distribution import Distribution


@dataclass(frozen=True, slots=True)
class Latency:
    """Counts between bounds in seconds, one more than bounds, and the sum of what was counted."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def __add__(self, other: Latency) -> Latency:
        """Both together. Other bounds, which a view may give some of the attribute sets, leave only counts and the mean."""
        if self.bounds != other.bounds:
            return Latency((), (self.count + other.count,), self.total + other.total)
        return Latency(self.bounds, tuple(map(int.__add__, self.counts, other.counts)), self.total + other.total)

    def __sub__(self, earlier: Latency) -> Latency:
        """What came since an earlier state of the same histogram."""
        if self.bounds != earlier.bounds:
            return Latency((), (self.count - earlier.count,), self.total - earlier.total)
        return Latency(self.bounds, tuple(map(int.__sub__, self.counts, earlier.counts)), self.total - earlier.total)

    def mean(self) -> float | None:
        """Seconds on average; None without any."""
        return self.total / self.count if self.count else None

    def p95(self) -> float | None:
        """Seconds that 95% take at most, interpolated as Prometheus does; None without any, or where nothing is known but their number."""
        return Distribution.from_otlp(self.bounds, self.counts).quantile(0.95)
