"""Standing: how each provider does: whether it can be used and since when, and how its attempts went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.history import Row, Timeline

UNNAMED = (semconv.NONE, "")
"""What stands in a provider's place where there is none."""


@dataclass(frozen=True, slots=True)
class State:
    """Whether something is available, and since when (seconds since the Unix epoch).

    known: whether there is news of it at all. before: it has been so for longer than was looked at; ``since`` is where that begins.
    """

    available: bool
    since: float
    known: bool
    before: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """One provider. ``state`` is None when nobody has ever said; ``row`` when nothing was asked of it."""

    provider: str
    state: State | None
    row: Row | None


def standings(available: Sequence[Timeline], rows: Sequence[Row]) -> list[Standing]:
    """All providers by name, from the timelines of their availability and what happened by provider."""
    states = {str(timeline.attributes[semconv.PROVIDER.key]): state(timeline) for timeline in available}
    asked = {row.provider: row for row in rows if row.provider and (row.attempt_count or row.request_count)}
    return [
        Standing(provider, states.get(provider), asked.get(provider))
        for provider in sorted({*states, *asked})
        if provider not in UNNAMED
    ]


def state(timeline: Timeline) -> State | None:
    """What the last point that says anything says, and since when it has been so without a break in the news."""
    points = list(timeline.points)
    known = bool(points) and points[-1].value is not None
    while points and points[-1].value is None:
        points.pop()
    if not points:
        return None
    last = points[-1].value
    number = len(points)
    while number and points[number - 1].value == last:
        number -= 1
    before = number == 0
    return State(last == 1, points[number].start if number < len(points) else points[-1].start, known, before)
