"""Distributions with their quantiles, and the growth of cumulative values.

The monitor in the process and all readers use these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol, Self, TypeVar, cast


class AtLeast(float):
    """A quantile beyond the last finite bucket bound: only a lower bound is known. As a number, it is that bound."""

    __slots__ = ()

    def __truediv__(self, divisor: float) -> AtLeast:
        """Divide by an exact number above 0; the result is a lower bound, too."""
        return AtLeast(float(self) / divisor)

    def __str__(self) -> str:
        return f"at least {float(self):g}"


class AtMost(float):
    """A quantile of fewer values than `enough`, which is that of the largest few: only the bound of its bucket is known.

    As a number, it is interpolated, as Prometheus does it.

    Args:
        value: the number.
        bound: the upper bound of the bucket; by default the number.
    """

    __slots__ = ("bound",)
    bound: float

    def __new__(cls, value: float, bound: float | None = None) -> Self:
        """Create it; a copy is made of the number alone, and gets its bound afterwards."""
        created = super().__new__(cls, value)
        created.bound = float(value) if bound is None else bound
        return created

    def __str__(self) -> str:
        return f"at most {self.bound:.3g}"


def enough(share: float) -> int:
    """How many values a quantile needs at least, to be more than the largest of them: 2 for the median, 20 for p95, 100 for p99.

    Args:
        share: from 0 to 1.
    """
    return round(1 / (1 - share)) if share < 1 else 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """The buckets of a histogram: how many values were at most each bound. The last bound is infinite."""

    buckets: Mapping[float, float] = field(default_factory=dict)

    @classmethod
    def from_otlp(cls, bounds: Sequence[float], counts: Sequence[int]) -> Distribution:
        """Create it from an OTLP data point.

        Args:
            bounds: the explicit bounds, ascending.
            counts: the number of values in each bucket; one more than bounds.
        """
        return cls(dict(zip([*bounds, math.inf], accumulate(counts), strict=True)))

    @classmethod
    def merged(cls, distributions: Iterable[Distribution]) -> Distribution:
        """Merge distributions into one.

        Args:
            distributions: of one metric; their bounds may differ.
        """
        buckets: dict[float, float] = {}
        for distribution in distributions:
            for bound, count in distribution.buckets.items():
                buckets[bound] = buckets.get(bound, 0) + count
        return cls(dict(sorted(buckets.items())))

    def __sub__(self, earlier: Distribution) -> Distribution:
        """Return the values that were added since an earlier state of the same histogram."""
        return Distribution({bound: count - earlier.buckets.get(bound, 0) for bound, count in self.buckets.items()})

    @property
    def count(self) -> float:
        """The number of values."""
        return self.buckets.get(math.inf, 0)

    def middles(self) -> dict[float, int]:
        """Return the number of values in each bucket, by its middle; for the last bucket, which has none, by its lower bound."""
        counts, below, counted = {}, 0.0, 0.0
        for bound, count in self.buckets.items():
            if count > counted:
                counts[below if math.isinf(bound) else (below + bound) / 2] = round(count - counted)
                counted = count
            below = bound
        return counts

    def share_above(self, bound: float) -> float | None:
        """Return the share of values above one of the bounds, 0 to 1; None without values, or where that is no bound of this histogram.

        Args:
            bound: one of the keys of ``buckets``.
        """
        return 1 - self.buckets[bound] / self.count if self.count and bound in self.buckets else None

    def quantile(self, q: float) -> float | None:
        """Return the value below which the share ``q`` of the values lies (above 0, up to 1), interpolated; None without values.

        A value beyond the last finite bound is `AtLeast` that bound, and of fewer values than `enough` `AtMost` the bound of its bucket.
        As a number, the result is exactly that of Prometheus's ``histogram_quantile`` for classic histograms, so that both sources
        agree. The first bucket starts at 0 if its bound is above 0
        (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile).
        """
        if not self.count or len(self.buckets) < 2:
            return None
        rank = q * self.count
        bounds, counts = (
            list(self.buckets),
            list(accumulate(self.buckets.values(), max)),
        )  # merged counts may not be monotonic
        index = next(i for i, count in enumerate(counts) if count >= rank)
        if index == len(bounds) - 1:
            return AtLeast(bounds[-2])
        if index == 0 and bounds[0] <= 0:
            return bounds[0]
        lower, below = (0.0, 0.0) if index == 0 else (bounds[index - 1], counts[index - 1])
        value = lower + (bounds[index] - lower) * (rank - below) / (counts[index] - below)
        return AtMost(value, bounds[index]) if self.count < enough(q) else value


class Cumulative(Protocol):
    """A state of a value that only grows until its process restarts."""

    @property
    def count(self) -> float:
        """The number of values."""

    def __sub__(self, earlier: Any, /) -> Self:
        """Return the difference to an earlier state."""


C = TypeVar("C", bound="Cumulative | float")


def growth(before: C | None, after: C, *, restarted: bool = False) -> C:
    """Return how much a cumulative value grew between two states.

    Args:
        before: the earlier state; None if there was none, so that it counts from 0.
        after: the later state.
        restarted: whether it is known that it was reset in between. A count lower than before shows that, too.

    Returns:
        The difference; after a reset, all of ``after``: what was counted between ``before`` and the reset is unknown.
    """
    if before is None or restarted or _count(after) < _count(before):
        return after
    difference: Any = after
    return cast("C", difference - before)


def _count(state: Cumulative | float) -> float:
    return state if isinstance(state, int | float) else state.count
