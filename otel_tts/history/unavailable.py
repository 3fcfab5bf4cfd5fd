"""Exceptions for a history that cannot be read."""

from __future__ import annotations

from otel_tts.errors import OtelTtsError


class HistoryUnavailableError(OtelTtsError, ConnectionError):
    """A source of history does not answer, or not as it should. The message is for people: who, what happened, what to do."""


class HistoryIncompleteError(HistoryUnavailableError):
    """A source says that it answered with only a part: counts of it would be too low."""
