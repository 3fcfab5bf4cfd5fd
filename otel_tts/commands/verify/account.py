"""Account: what calls must have added to a service's metrics, and whether they did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from otel_tts import semconv
from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify.scrape import Scrape
from otel_tts.semconv import SERVED_FROM_CACHE, Attribute, Metric, Outcome
from otel_tts.service.wire import SERVICE

TOLERANCE = 1e-5
"""Seconds of audio by which a sum may differ: less than one sample at 48 kHz, more than adding in another order makes."""

_REJECTIONS = ("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED")  # gRPC itself gives none of these to a caller

Amounts = Mapping[tuple[str, ...], float]


def outcome(reply: Reply) -> Outcome | None:
    """The outcome that the service must have counted; None where the caller cannot know.

    It cannot where the call ended on its own side (its deadline, a cancellation, a broken connection: the service may have
    finished before it learnt of that, or never have heard of the call), and for INTERNAL, which is a bug or no audio.
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
class CountedMeasure:
    """One thing that is counted: how the service does it, and what a call adds to it.

    by: the attributes whose values are told apart. where: the series that count. added: of a call whose outcome is known.
    """

    title: str
    metric: Metric
    by: tuple[Attribute, ...]
    added: Callable[[Planned, Reply, Outcome], Amounts]
    where: Mapping[Attribute, str] = field(default_factory=dict)
    tolerance: float = 0.0

    def expected(self, calls: Iterable[tuple[Planned, Reply]]) -> Amounts:
        """What the calls must have added."""
        sums: dict[tuple[str, ...], float] = {}
        for planned, reply in calls:
            result = outcome(reply)
            if result is not None:
                for key, amount in self.added(planned, reply, result).items():
                    sums[key] = sums.get(key, 0.0) + amount
        return sums

    def counted(self, before: Scrape, after: Scrape) -> Amounts:
        """What was added between two scrapes."""
        earlier = before.counts(self.metric, self.by, self.where)
        later = after.counts(self.metric, self.by, self.where)
        return {key: later.get(key, 0.0) - earlier.get(key, 0.0) for key in later.keys() | earlier.keys()}


def _characters(planned: Planned, reply: Reply, outcome: Outcome) -> Amounts:
    state = "cached" if reply.cache in SERVED_FROM_CACHE else "synthesized"
    return {(state if reply.chunks else "wasted",): planned.characters}


def _audio(planned: Planned, reply: Reply, outcome: Outcome) -> Amounts:
    return {("cache" if reply.cache in SERVED_FROM_CACHE else "provider",): reply.seconds}


def _method(planned: Planned) -> str:
    return f"{SERVICE}/{'SynthesizeStream' if planned.stream else 'Synthesize'}"


MEASURES: Sequence[CountedMeasure] = (
    CountedMeasure(
        "requests", semconv.SYNTHESIS_DURATION, (semconv.OUTCOME,), lambda planned, reply, outcome: {(outcome.value,): 1}
    ),
    CountedMeasure(
        "requests by voice", semconv.SYNTHESIS_REQUESTS, (semconv.OUTCOME,), lambda planned, reply, outcome: {(outcome.value,): 1}
    ),
    CountedMeasure(
        "cache results",
        semconv.SYNTHESIS_DURATION,
        (semconv.CACHE_RESULT,),
        lambda planned, reply, outcome: {(reply.cache.value,): 1} if reply.cache and outcome is Outcome.OK else {},
        {semconv.OUTCOME: Outcome.OK.value},  # a refusal does not say how far the request had come
    ),
    CountedMeasure("characters", semconv.SYNTHESIS_CHARACTERS, (semconv.CHARACTERS_STATE,), _characters),
    CountedMeasure(
        "seconds of audio",
        semconv.SYNTHESIS_AUDIO,
        (semconv.AUDIO_SOURCE,),
        _audio,
        {semconv.AUDIO_STATE: "delivered"},
        TOLERANCE,
    ),
    CountedMeasure(
        "RPCs",
        semconv.RPC_DURATION,
        (semconv.RPC_METHOD, semconv.RPC_RESPONSE_STATUS_CODE),
        lambda planned, reply, outcome: {(_method(planned), reply.code): 1},
    ),
)


@dataclass(frozen=True, slots=True)
class CountComparison:
    """One number: what was expected, and what the service counted. ``values``: of the attributes that it is split by."""

    measure: CountedMeasure
    values: tuple[str, ...]
    expected: float
    counted: float

    @property
    def agrees(self) -> bool:
        """Whether the sides are the same."""
        return abs(self.counted - self.expected) <= self.measure.tolerance


def compare(calls: Sequence[tuple[Planned, Reply]], before: Scrape, after: Scrape) -> list[CountComparison]:
    """Every number that is not zero on both sides."""
    comparisons = []
    for measure in MEASURES:
        expected, counted = measure.expected(calls), measure.counted(before, after)
        for key in sorted(expected.keys() | counted.keys()):
            comparison = CountComparison(measure, key, expected.get(key, 0.0), counted.get(key, 0.0))
            if comparison.expected or comparison.counted:
                comparisons.append(comparison)
    return comparisons


def restarted(before: Scrape, after: Scrape) -> bool:
    """Whether it is not the same process any more, so that it counts from zero again."""
    fell = any(amount < 0 for measure in MEASURES for amount in measure.counted(before, after).values())
    return fell or before.process() != after.process()
