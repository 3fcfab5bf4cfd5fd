"""Exceptions for a history that cannot be read."""

from __future__ import annotations

from otel_tts.errors import OtelTtsError


class HistoryUnavailableError(OtelTtsError, ConnectionError):
    """A source of history does not answer, or not as it should. The message is for people: who, what happened, what to do."""


class HistoryIncompleteError(HistoryUnavailableError):
    """A source says that it answered with only a part: counts of it would be too low."""


class UnreadableHistogramError(HistoryUnavailableError):
    """A source answers, but one service's histogram does not say how many values lie below the metric's bounds. Others are read."""


def exponential(source: str, name: str) -> UnreadableHistogramError:
    """Make the error for a histogram without the bounds that its metric has: thresholds are such bounds, and others are guesses.

    Args:
        source: who has it, to begin the sentence.
        name: of the metric, as the source has it.
    """
    return UnreadableHistogramError(
        f"{source} has {name} as an exponential or native histogram, without the bounds of buckets that requests are counted by. "
        f"Export it with explicit buckets, and let the store keep them: see docs/series.md, exponential and native histograms."
    )
