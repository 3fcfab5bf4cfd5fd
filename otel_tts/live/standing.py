"""Standing of each provider: whether it is available, since when, and its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from otel_tts import semconv
from otel_tts.history import Point, Row, Timeline

UNNAMED = (semconv.NONE, "")
"""Values of the provider attribute where there is no provider."""


@dataclass(frozen=True, slots=True)
class State:
    """Whether something is available, and since when (seconds since the Unix epoch).

    reported: whether the last window has a value. before: it has been so since before the first window; ``since`` is where that begins.
    """

    available: bool
    since: float
    reported: bool
    before: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """One provider. ``state`` is None when its availability was never reported; ``row`` when it had no attempts and no requests."""

    provider: str
    state: State | None
    row: Row | None


def standings(available: Sequence[Timeline], rows: Sequence[Row]) -> list[Standing]:
    """Make the standing of each provider, by name, from timelines of availability and rows by provider.

    Where a metric had no room for all providers, attempts of the later ones are those of `_OTHER`: how many each had is not known then.

    Args:
        available: whether each provider can be used, over time.
        rows: of each provider.
    """
    states = {str(timeline.attributes[semconv.PROVIDER.key]): state(timeline) for timeline in available}
    asked = {row.provider: row for row in rows if row.provider and (row.attempt_count or row.request_count)}
    if (together := asked.get(semconv.OTHER)) and together.attempt_count:
        asked = {name: row if row.attempt_count else replace(row, attempt_count=None) for name, row in asked.items()}
    return [
        Standing(provider, states.get(provider), asked.get(provider))
        for provider in sorted({*states, *asked})
        if provider not in UNNAMED
    ]


def _some_can(point: Point) -> bool:
    """Whether at least one replica can use the provider."""
    return isinstance(point.value, float) and point.value > 0


def state(timeline: Timeline) -> State | None:
    """Read the last value of a timeline, and since when it has been the same without a gap.

    Args:
        timeline: of one provider.
    """
    points = list(timeline.points)
    reported = bool(points) and points[-1].value is not None
    while points and points[-1].value is None:
        points.pop()
    if not points:
        return None
    available = _some_can(points[-1])
    number = len(points)
    while number and points[number - 1].value is not None and _some_can(points[number - 1]) is available:
        number -= 1
    before = number == 0
    return State(available, points[number].start if number < len(points) else points[-1].start, reported, before)
