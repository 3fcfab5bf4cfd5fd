"""Account: what calls must have added to a service's metrics, compared with what they added."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify.judged import JudgedCall, Key
from otel_tts.commands.verify.scrape import Scrape
from otel_tts.core.prices import Prices
from otel_tts.history.requests import FIELDS
from otel_tts.semconv import Attribute, Instrument, Metric, Outcome

TOLERANCE = 1e-5
"""By which a sum of fractions may differ: less than one sample at 48 kHz, more than adding in another order makes."""
SLACK_RATIO, SLACK_S = 1.1, 0.25
"""A sum of seconds may be this many times what the caller measured, and this much more: the service is told of the end of a call
a moment after its caller."""

_REJECTIONS = ("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED")  # gRPC itself gives none of these to a caller

Amount = float | tuple[float, float]
"""What a call adds, or the least and the most of it."""
Amounts = Mapping[Key, Amount]
Range = tuple[float, float]


def outcome(reply: Reply) -> Outcome | None:
    """The outcome that the service must have counted; None where the caller cannot know.

    It cannot where the call ended on its own side (its deadline, a cancellation, a broken connection: the service may have
    finished before it learnt of that, or never have heard of the call), and for INTERNAL, which is a bug or no audio.

    Args:
        reply: what came.
    """
    if reply.code in _REJECTIONS:
        return Outcome.REJECTED
    if not reply.answered:
        return None
    match reply.code:
        case "OK":
            return Outcome.OK
        case "RESOURCE_EXHAUSTED":
            return Outcome.ERROR
        case "UNAVAILABLE":
            return Outcome.PARTIAL if reply.chunks else Outcome.ERROR
    return None


@dataclass(frozen=True, slots=True)
class Traffic:
    """The calls that were sent, and the facts about the service.

    calls: each with its answer. prices: of the providers; None where they are not known, though the service knows some.
    plain: whether every call either went well with the first provider, or was refused before one was asked, so that the answers tell
    all that happened inside.
    """

    calls: Sequence[tuple[Planned, Reply]]
    prices: Prices | None
    plain: bool

    @classmethod
    def judged(cls, calls: Sequence[tuple[Planned, Reply]], prices: Prices | None) -> Traffic:
        """The traffic of these calls.

        Args:
            calls: each with its answer.
            prices: of the providers; None: they are not known.
        """
        plain = all(
            planned.invalid if outcome(reply) is Outcome.REJECTED else outcome(reply) is Outcome.OK and not reply.fallback
            for planned, reply in calls
        )
        return cls(calls, prices, plain)


@dataclass(frozen=True, slots=True)
class CountedMeasure:
    """One thing that is measured: how the service does it, and what a call adds to it.

    by: the attributes whose values are told apart. added: of a call whose outcome is known, and of prices. sums: whether the sum of
    a histogram is meant, not its number of values. inside: whether an answer tells it only where all went well at the first try.
    total: whether it is a state, not a count: what it is now is compared, not what was added. only_expected: whether other series may
    be anything. ignored: values that are nobody's request's. tolerance: by which it may differ.
    """

    title: str
    metric: Metric
    by: tuple[Attribute, ...]
    added: Callable[[JudgedCall], Amounts]
    sums: bool = False
    inside: bool = False
    total: bool = False
    only_expected: bool = False
    ignored: frozenset[str] = frozenset()
    tolerance: float = 0.0

    def expected(self, traffic: Traffic) -> dict[Key, Range]:
        """The least and the most that the calls must have added.

        Args:
            traffic: the calls.
        """
        ranges: dict[Key, Range] = {}
        for planned, reply in traffic.calls:
            result = outcome(reply)
            if result is None:
                continue
            for key, amount in self.added(JudgedCall(planned, reply, result, traffic.prices or Prices())).items():
                least, most = amount if isinstance(amount, tuple) else (amount, amount)
                if self.total:
                    ranges[key] = (least, most)
                else:
                    low, high = ranges.get(key, (0.0, 0.0))
                    ranges[key] = (low + least, high + most)
        return ranges

    def counted(self, before: Scrape, after: Scrape) -> dict[tuple[str, ...], float]:
        """What was added between two scrapes, or what is there now.

        Args:
            before: the metrics before the calls.
            after: the metrics after the calls.
        """
        later = after.amounts(self.metric, self.by, sums=self.sums)
        earlier = {} if self.total else before.amounts(self.metric, self.by, sums=self.sums)
        added = {key: later.get(key, 0.0) - earlier.get(key, 0.0) for key in later.keys() | earlier.keys()}
        return {key: amount for key, amount in added.items() if self.ignored.isdisjoint(key)}

    @property
    def in_seconds(self) -> bool:
        """Whether it is a sum of times that the caller's clock bounds."""
        return self.sums and self.metric.instrument is Instrument.HISTOGRAM


@dataclass(frozen=True, slots=True)
class CountComparison:
    """One number: the least and the most that was expected, and what the service counted. ``values``: of its attributes."""

    measure: CountedMeasure
    values: Key
    low: float
    high: float
    counted: float

    @property
    def labels(self) -> str:
        """Its attributes, by the names that requests have for them, with their values."""
        pairs = zip(self.measure.by, self.values, strict=True)
        return " ".join(f"{FIELDS.get(each.key, each.key.rpartition('.')[2])}={_shown(value)}" for each, value in pairs)

    @property
    def agrees(self) -> bool:
        """Whether the sides are the same, within the bounds."""
        return self.low - self.measure.tolerance <= self.counted <= self.high + self.measure.tolerance

    @property
    def difference(self) -> float:
        """By how much it is too high, or too low if negative."""
        return self.counted - (self.high if self.counted > self.high else self.low)


def compare(measures: Sequence[CountedMeasure], traffic: Traffic, before: Scrape, after: Scrape) -> list[CountComparison]:
    """Every state, and every count that is not zero on both sides.

    Args:
        measures: what is compared.
        traffic: the calls.
        before: the metrics before the calls.
        after: the metrics after the calls.
    """
    comparisons = []
    for measure in measures:
        expected, counted = measure.expected(traffic), measure.counted(before, after)
        for key, (low, high, number) in _matched(expected, counted, only_expected=measure.only_expected).items():
            bounds = _bounds(measure, traffic, low, high)
            if measure.total and key not in counted:
                number = math.nan  # noqa: PLW2901 - a state that is not told is not 0
            if number or measure.total or (any(bounds) and not measure.in_seconds):
                comparisons.append(CountComparison(measure, key, *bounds, number))
    titles = [measure.title for measure in measures]
    return sorted(comparisons, key=lambda one: (titles.index(one.measure.title), [value or "" for value in one.values]))


def _bounds(measure: CountedMeasure, traffic: Traffic, low: float, high: float) -> Range:
    """The least and the most that may be counted."""
    if measure.inside and not traffic.plain:
        return (0.0, math.inf)
    return (low, high * SLACK_RATIO + SLACK_S if measure.in_seconds else high)


def _matched(
    expected: Mapping[Key, Range], counted: Mapping[tuple[str, ...], float], *, only_expected: bool
) -> dict[Key, tuple[float, float, float]]:
    """Both sides by the same keys: all values that a key with a None may stand for are one number."""
    patterns = sorted((key for key in expected if None in key), key=lambda key: -key.count(None))
    sides: dict[Key, tuple[float, float, float]] = {}
    for key, (least, most) in expected.items():
        place = _place(key, patterns)
        low, high, number = sides.get(place, (0.0, 0.0, 0.0))
        sides[place] = (low + least, high + most, number)
    for values, amount in counted.items():
        place = _place(values, patterns)
        if place in sides or not only_expected:
            low, high, number = sides.get(place, (0.0, 0.0, 0.0))
            sides[place] = (low, high, number + amount)
    return sides


def _place(key: Key, patterns: Sequence[Key]) -> Key:
    for pattern in patterns:
        if all(wanted is None or wanted == value for wanted, value in zip(pattern, key, strict=True)):
            return pattern
    return key


def restarted(before: Scrape, after: Scrape) -> bool:
    """Whether the service, or a replica of it, was restarted, so that it counts from zero again; or others answer than before.

    Args:
        before: the metrics before the calls.
        after: the metrics after the calls.
    """
    return before.processes() != after.processes()


def _shown(value: str | None) -> str:
    """A value of an attribute, without the folders of a file: ``*`` where it may be any, ``-`` where it is empty."""
    return "*" if value is None else (value or "-").rpartition("/")[2]
