"""Outcomes in the terminal."""

from __future__ import annotations

from otel_tts.commands import terminal
from otel_tts.semconv import Outcome


def test_outcomes_are_words_in_colours() -> None:
    """Every outcome has its word, and a colour of its own or that of failure."""
    assert [terminal.outcome(outcome).plain for outcome in Outcome] == [outcome.value for outcome in Outcome]
    assert set(terminal.STYLES) == set(Outcome)
