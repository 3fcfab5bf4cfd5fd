"""What a service does for nobody who waits: requests of the kinds prefetch and batch, which objectives and charts leave out."""

from __future__ import annotations

from otel_tts import formatting, semconv
from otel_tts.history import Distribution
from otel_tts.live.cached_history import CachedHistory


def only_background(history: CachedHistory, start: float, end: float, when: str, service: str = "") -> str | None:
    """Say how many requests in the background there were; None if there were none.

    Args:
        history: the telemetry that is read.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        when: the time in words, as the beginning of a sentence.
        service: the name of the service.
    """
    counts: dict[str, int] = {}
    for timeline in history.over(semconv.BACKGROUND_DURATION, start, end, (semconv.OUTCOME,), service=service):
        if isinstance(value := timeline.points[0].value, Distribution) and value.count:
            counts[str(timeline.attributes[semconv.OUTCOME.key])] = round(value.count)
    if not counts:
        return None
    requests = formatting.counted(sum(counts.values()), "request")
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items(), key=lambda each: -each[1]))
    return f"{when} it had {requests} in the background ({outcomes}) and no other. Objectives leave these out."
