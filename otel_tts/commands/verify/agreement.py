"""Agreement: whether metrics of a service that count the same thing agree, whatever was sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otel_tts import formatting, promql, semconv
from otel_tts.commands.verify.scrape import Scrape
from otel_tts.semconv import METRICS, Attribute, Instrument, Metric

_TOLERANCE = 1e-6  # of a sum and of each of its bounds
_CLOCK_S = 1e-3  # by which two sums of the same times may differ


@dataclass(frozen=True, slots=True)
class _Twice:
    """The same operations, told by two metrics. Their sums are the same too, or that of ``inner`` is at most that of ``outer``."""

    outer: Metric
    inner: Metric
    by: tuple[Attribute, ...] = ()
    same: bool = True


_TWICE: Sequence[_Twice] = (
    _Twice(semconv.ATTEMPT_DURATION, semconv.CLIENT_DURATION, (semconv.PROVIDER, semconv.MODEL, semconv.ERROR_TYPE)),
    _Twice(semconv.ATTEMPT_DURATION, semconv.CLIENT_FIRST_CHUNK, (semconv.PROVIDER, semconv.MODEL), same=False),
    _Twice(
        semconv.SYNTHESIS_FIRST_AUDIO,
        semconv.SYNTHESIS_FIRST_BYTE,
        (semconv.PROVIDER, semconv.MODEL, semconv.CACHE_RESULT),
        same=False,
    ),
    _Twice(
        semconv.SYNTHESIS_DURATION,
        semconv.SYNTHESIS_FIRST_BYTE,
        (semconv.PROVIDER, semconv.MODEL, semconv.CACHE_RESULT),
        same=False,
    ),
    _Twice(semconv.SYNTHESIS_DURATION, semconv.QUEUE_WAITING, same=False),
    _Twice(semconv.SYNTHESIS_DURATION, semconv.ENCODE_DURATION, same=False),
)


_POSITIVE = frozenset(
    {
        semconv.SYNTHESIS_DURATION,
        semconv.SYNTHESIS_FIRST_BYTE,
        semconv.SYNTHESIS_FIRST_AUDIO,
        semconv.RPC_DURATION,
        semconv.ATTEMPT_DURATION,
        semconv.ATTEMPT_REAL_TIME_FACTOR,
        semconv.CLIENT_DURATION,
        semconv.CLIENT_FIRST_CHUNK,
    }
)
"""What always takes some time, so that a sum of 0 is none."""


def disagreements(before: Scrape, after: Scrape) -> list[str]:
    """The contradictions in what was added between two scrapes, a line each.

    Args:
        before: the metrics before the calls.
        after: the metrics after the calls.
    """
    lines = [line for metric in METRICS if metric.instrument is Instrument.HISTOGRAM for line in _buckets(metric, before, after)]
    for twice in _TWICE:
        lines += _twice(twice, before, after)
    requests = _added(semconv.SYNTHESIS_DURATION, (), before, after, sums=True).get((), 0.0)
    rpcs = sum(
        seconds
        for (method,), seconds in _added(semconv.RPC_DURATION, (semconv.RPC_METHOD,), before, after, sums=True).items()
        if "/Synthesize" in method
    )
    if abs(rpcs - requests) > _CLOCK_S:
        lines.append(
            f"{semconv.SYNTHESIS_DURATION.name} and {semconv.RPC_DURATION.name} tell the same calls: {requests:.3f} s and {rpcs:.3f} s."
        )
    return lines


def _buckets(metric: Metric, before: Scrape, after: Scrape) -> Iterator[str]:
    """Whether the buckets of a histogram add up to its number of values, and its sum lies between their bounds."""
    earlier, later = before.buckets(metric), after.buckets(metric)
    names = (promql.count_series(metric), promql.sum_series(metric))
    if any(labels not in later for name in names for labels in after.attribute_sets(name)):
        yield f"{metric.name} has counts without buckets."
    for labels, cumulative in later.items():
        count, total = (after.value(name, labels) - before.value(name, labels) for name in names)
        reached, low, high, previous, lower = True, 0.0, 0.0, 0.0, 0.0
        for bound, reading in sorted(cumulative.items()):
            number = reading - earlier.get(labels, {}).get(bound, 0.0)
            inside = number - previous
            reached = reached and inside >= 0
            low += inside * lower
            high += inside * bound if inside else 0.0
            previous, lower = number, bound
        if not reached or previous != count or math.inf not in cumulative:
            yield f"{metric.name}: its buckets do not add up to its number of values, {count:,.0f}."
        elif count and not total and metric in _POSITIVE:
            yield f"{metric.name}: its sum is 0 for {formatting.counted(count, 'value')}, each of which is more than 0."
        elif not low - _TOLERANCE <= total <= high + _TOLERANCE:
            yield f"{metric.name}: its sum, {total:.6g}, is not between the bounds of its buckets, {low:.6g} and {high:.6g}."


def _added(metric: Metric, by: Sequence[Attribute], before: Scrape, after: Scrape, *, sums: bool) -> dict[tuple[str, ...], float]:
    earlier, later = before.amounts(metric, by, sums=sums), after.amounts(metric, by, sums=sums)
    return {key: later.get(key, 0.0) - earlier.get(key, 0.0) for key in later.keys() | earlier.keys()}


def _twice(twice: _Twice, before: Scrape, after: Scrape) -> Iterator[str]:
    for sums in (False, True):
        outer = _added(twice.outer, twice.by, before, after, sums=sums)
        inner = _added(twice.inner, twice.by, before, after, sums=sums)
        kind = "sums" if sums else "numbers of values"
        for key in sorted(outer.keys() | inner.keys()):
            big, small = outer.get(key, 0.0), inner.get(key, 0.0)
            differs = abs(big - small) > (_CLOCK_S if sums else 0.0) if twice.same else sums and small > big + _CLOCK_S
            if differs:
                names = " ".join(key) or "all"
                word = "are not the same" if twice.same else "cannot both be true"
                yield f"{twice.outer.name} and {twice.inner.name}: their {kind} for {names} {word}: {big:.6g} and {small:.6g}."
