"""Growth of what is cumulative, and quantiles: one definition for the monitor and all readers."""

from __future__ import annotations

import copy
import math
import pickle
import re
from bisect import bisect_left
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_tts import formatting
from otel_tts.distribution import AtLeast, AtMost, Distribution, growth
from otel_tts.monitor.latency import Latency
from otel_tts.promql import expressions
from otel_tts.promql.query import Scope
from otel_tts.semconv import SYNTHESIS_DURATION

BOUNDS = (0.1, 0.5, 1.0, 2.5)
LIVES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=4)


@given(lives=LIVES)
def test_growth_over_restarts_is_what_was_counted(lives: list[list[int]]) -> None:
    """A counter that begins again from 0, seen after each count, grew by the sum of all counts, also as a histogram and as latencies."""
    seen = [total for life in lives for total in accumulate(life)]
    starts = {sum(map(len, lives[:number])) for number in range(len(lives))}
    counted = seen[0] + sum(growth(a, b, restarted=i + 1 in starts) for i, (a, b) in enumerate(pairwise(seen)))
    assert counted == sum(map(sum, lives))
    states = [Latency(BOUNDS, (0, total, 0, 0, 0), 0.3 * total) for total in seen]
    latency = states[0]
    for index, (before, after) in enumerate(pairwise(states)):
        latency += growth(before, after, restarted=index + 1 in starts)
    assert latency.count == counted


@given(before=st.integers(0, 100), after=st.integers(0, 100))
def test_a_count_that_fell_has_begun_again(before: int, after: int) -> None:
    """Then all that it counts is new; a state that was never there counted 0."""
    assert growth(before, after) == (after - before if after >= before else after)
    assert growth(None, after) == after
    old, new = (Distribution({1.0: count, math.inf: count}) for count in (before, after))
    assert growth(old, new).count == growth(before, after)


@given(counts=st.lists(st.integers(0, 20), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1))
def test_the_monitor_and_the_readers_have_one_quantile(counts: list[int]) -> None:
    """The monitor's p95 is the readers', and lies within the bucket that holds that rank."""
    latency = Latency(BOUNDS, tuple(counts), 1.0)
    p95 = latency.p95()
    assert p95 == Distribution.from_otlp(BOUNDS, counts).quantile(0.95)
    if p95 is None:
        assert not sum(counts)
        return
    rank = 0.95 * sum(counts)
    bucket = next(index for index, total in enumerate(accumulate(counts)) if total >= rank)
    lower, upper = (0.0, *BOUNDS)[bucket], (*BOUNDS, BOUNDS[-1])[bucket]
    assert lower <= p95 <= upper or p95 == BOUNDS[-1]


@given(values=st.lists(st.floats(0.0001, BOUNDS[-1]), min_size=1, max_size=120), q=st.sampled_from([0.5, 0.95, 0.99]))
def test_of_few_values_a_quantile_is_at_most_the_bound_of_its_bucket(values: list[float], q: float) -> None:
    """With fewer than Grafana draws one of, exactly; then it is no less than the value of that rank, whatever is interpolated."""
    counts = [0] * (len(BOUNDS) + 1)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    quantile = Distribution.from_otlp(BOUNDS, counts).quantile(q)
    assert quantile is not None
    drawn_from = int(re.findall(r">= (\d+)\)", expressions.quantile(Scope(window="5m"), q, SYNTHESIS_DURATION))[0])
    assert isinstance(quantile, AtMost) == (len(values) < drawn_from)
    if isinstance(quantile, AtMost):
        at_rank = sorted(values)[math.ceil(q * len(values)) - 1]
        assert at_rank <= quantile.bound == BOUNDS[bisect_left(BOUNDS, at_rank)]
        for copied in (copy.deepcopy(quantile), pickle.loads(pickle.dumps(quantile))):
            assert (copied, copied.bound, str(copied)) == (quantile, quantile.bound, str(quantile))


def test_the_latency_of_one_request_is_shown_as_the_bound_that_is_known() -> None:
    """One that took 0.3 s has no p95 of 488 ms, nor a real-time factor of 0.4875. A message says with what a threshold was compared."""
    one = Distribution.from_otlp((0.25, 0.5, 1.0), (0, 1, 0, 0)).quantile(0.95)
    assert (formatting.duration(one), formatting.value(one, "s")) == ("at most 500 ms",) * 2
    assert formatting.estimated(one) == "about 490 ms"
    assert formatting.value(one, "1") == "at most 0.5"
    assert formatting.duration(AtMost(3.9, 4.0)) == "at most 4 s"


@given(
    counts=st.lists(st.integers(0, 20), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1).filter(any),
    q=st.sampled_from([0.05, 0.5, 0.95, 0.99, 1.0]),
)
def test_beyond_the_last_bucket_a_quantile_is_at_least_its_bound(counts: list[int], q: float) -> None:
    """Exactly then: one at the last bound itself is a number like any other, and both come through arithmetic and copies as they are."""
    quantile = Distribution.from_otlp(BOUNDS, counts).quantile(q)
    assert quantile is not None
    assert isinstance(quantile, AtLeast) == (sum(counts[:-1]) < q * sum(counts))
    if isinstance(quantile, AtLeast):
        assert quantile == BOUNDS[-1]
        assert f"{quantile}" == str(copy.deepcopy(quantile)) == "at least 2.5"
        assert f"{quantile / 0.5}" == "at least 5"
