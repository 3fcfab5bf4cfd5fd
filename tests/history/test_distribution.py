"""Quantiles are those of Prometheus."""

from __future__ import annotations

import math

import pytest

from otel_tts.distribution import Distribution

POSITIVE = Distribution({0.1: 5, 0.2: 7, 1.0: 11, math.inf: 12})
NEGATIVE = Distribution({-0.2: 1, -0.1: 2, 0.3: 2, math.inf: 3})


@pytest.mark.parametrize(
    ("distribution", "q", "expected"),
    [
        (POSITIVE, 0.2, 0.048),
        (POSITIVE, 0.5, 0.15),
        (POSITIVE, 0.8, 0.72),
        (POSITIVE, 1.0, 1.0),
        (NEGATIVE, 0.2, -0.2),
        (NEGATIVE, 0.5, -0.15),
        (NEGATIVE, 0.8, 0.3),
        (Distribution({0.0: 4, 1.0: 4, math.inf: 4}), 0.5, 0.0),
        (Distribution({1.0: 0, 2.0: 0, math.inf: 3}), 0.5, 2.0),
        (Distribution({1.0: 4, 2.0: 3, 4.0: 8, math.inf: 8}), 0.75, 3.0),
        (Distribution({1.0: 0, math.inf: 0}), 0.5, None),
        (Distribution({math.inf: 3}), 0.5, None),
        (Distribution(), 0.5, None),
    ],
)
def test_quantiles_are_those_of_histogram_quantile(distribution: Distribution, q: float, expected: float | None) -> None:
    """The cases that Prometheus tests its own function with, and its edge cases: zero, infinity, not monotonic, nothing."""
    assert distribution.quantile(q) == (None if expected is None else pytest.approx(expected))


def test_distributions_of_different_layouts_are_merged() -> None:
    """Buckets that changed with a release are added bound by bound, as Prometheus does by `le`."""
    old, new = Distribution.from_otlp([1.0, 2.0], [1, 1, 1]), Distribution.from_otlp([1.0, 1.5, 2.0], [1, 0, 1, 0])
    assert dict(Distribution.merged([old, new]).buckets) == {1.0: 2, 1.5: 1, 2.0: 4, math.inf: 5}


def test_what_came_on_top() -> None:
    """The difference of two states of one histogram, and its share above a bound."""
    earlier, later = Distribution.from_otlp([0.0, 1.0], [1, 2, 3]), Distribution.from_otlp([0.0, 1.0], [2, 5, 3])
    growth = later - earlier
    assert (growth.count, growth.share_above(0.0), growth.share_above(1.0)) == (4, 0.75, 0.0)
    assert (earlier - earlier).share_above(0.0) is None
