"""What metrics counted: distributions with their quantiles, and how much a cumulative value grew.

The one place for both, for the monitor in the process and for all readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol, Self, TypeVar, cast


class AtLeast(float):
    """A quantile beyond the last bucket: it is at least this bound, and no more is known. Where only numbers can be, it is its bound."""

    __slots__ = ()

    def __truediv__(self, divisor: float) -> AtLeast:
        """As a multiple of something exact above 0, it is at least that multiple."""
        return AtLeast(float(self) / divisor)

    def __str__(self) -> str:
        return f"at least {float(self):g}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The buckets of a histogram: how many values were at most each bound. The last bound is infinite."""

    buckets: Mapping[float, float] = field(default_factory=dict)

    @classmethod
    def from_otlp(cls, bounds: Sequence[float], counts: Sequence[int]) -> Distribution:
        """From a data point of OTLP.

        Args:
            bounds: the explicit bounds, ascending.
            counts: of the values between them; one more than bounds.
        """
        return cls(dict(zip([*bounds, math.inf], accumulate(counts), strict=True)))

    @classmethod
    def merged(cls, distributions: Iterable[Distribution]) -> Distribution:
        """All of them together.

        Args:
            distributions: of one metric; their bounds may differ.
        """
        buckets: dict[float, float] = {}
        for distribution in distributions:
            for bound, count in distribution.buckets.items():
                buckets[bound] = buckets.get(bound, 0) + count
        return cls(dict(sorted(buckets.items())))

    def __sub__(self, earlier: Distribution) -> Distribution:
        """What came on top of an earlier state of the same histogram."""
        return Distribution({bound: count - earlier.buckets.get(bound, 0) for bound, count in self.buckets.items()})

    @property
    def count(self) -> float:
        """The number of values."""
        return self.buckets.get(math.inf, 0)

    def middles(self) -> dict[float, int]:
        """How many values lie in each bucket, by its middle; that of the last, which has none, is its lower bound."""
        counts, below, counted = {}, 0.0, 0.0
        for bound, count in self.buckets.items():
            if count > counted:
                counts[below if math.isinf(bound) else (below + bound) / 2] = round(count - counted)
                counted = count
            below = bound
        return counts

    def share_above(self, bound: float) -> float | None:
        """The share of values above one of the bounds, 0 to 1; None when there are no values.

        Args:
            bound: one of the keys of ``buckets``.
        """
        return 1 - self.buckets[bound] / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The value below which the share ``q`` of the values lies (above 0, up to 1), interpolated; None without values.

        A value beyond the last finite bound is `AtLeast` that bound. Otherwise exactly Prometheus's ``histogram_quantile`` for classic
        histograms, so that both sources agree; it gives the bound there too. The first bucket starts at 0 if its bound is above
        (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile).
        """
        if not self.count or len(self.buckets) < 2:
            return None
        rank = q * self.count
        bounds, counts = list(self.buckets), list(accumulate(self.buckets.values(), max))  # merged layouts may not be monotonic
        index = next(i for i, count in enumerate(counts) if count >= rank)
        if index == len(bounds) - 1:
            return AtLeast(bounds[-2])
        if index == 0 and bounds[0] <= 0:
            return bounds[0]
        lower, below = (0.0, 0.0) if index == 0 else (bounds[index - 1], counts[index - 1])
        return lower + (bounds[index] - lower) * (rank - below) / (counts[index] - below)


class Cumulative(Protocol):
    """A state of something that only grows until its process begins again."""

    @property
    def count(self) -> float:
        """How many values it counts."""

    def __sub__(self, earlier: Any, /) -> Self:
        """What came on top of an earlier state."""


C = TypeVar("C", bound="Cumulative | float")


def growth(before: C | None, after: C, *, restarted: bool = False) -> C:
    """Give how much a cumulative value grew between two states.

    Args:
        before: the earlier state; None where there was none, and it counted from 0.
        after: the later state.
        restarted: whether it is known that it began again in between. It also did when it counts less than before.

    Returns:
        The difference; of a value that began again, all of ``after``: what it counted before that is not known.
    """
    if before is None or restarted or _count(after) < _count(before):
        return after
    difference: Any = after
    return cast("C", difference - before)


def _count(state: Cumulative | float) -> float:
    return state if isinstance(state, int | float) else state.count
