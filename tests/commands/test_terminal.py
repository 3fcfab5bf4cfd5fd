"""How numbers are written for people."""

from __future__ import annotations

import time

import pytest

from otel_tts.commands import terminal
from otel_tts.semconv import Outcome


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "-"), (0.0, "0 ms"), (0.00042, "0.4 ms"), (0.0994, "99.4 ms"), (0.0996, "100 ms"), (0.4567, "457 ms"),
        (0.9996, "1.00 s"), (2.345, "2.35 s"), (99.999, "100.00 s"), (1234.5, "1,234 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, written: str) -> None:
    """Three digits that count, in the unit that suits."""
    assert terminal.duration(seconds) == written


@pytest.mark.parametrize(
    ("part", "written"),
    [(None, "-"), (0.0, "0.0 %"), (1e-6, "<0.1 %"), (0.5, "50.0 %"), (0.9996, ">99.9 %"), (1.0, "100.0 %")],
)
def test_shares(part: float | None, written: str) -> None:
    """Nothing is rounded to all or to nothing."""
    assert terminal.share(part) == written


def test_outcomes_are_words_in_colours() -> None:
    """Every outcome has its word, and a colour of its own or that of failure."""
    assert [terminal.outcome(outcome).plain for outcome in Outcome] == [outcome.value for outcome in Outcome]
    assert set(terminal.STYLES) == set(Outcome)


def test_clock_times_have_dates_where_they_need_them() -> None:
    """The time of day for the last day, month and day before."""
    assert len(terminal.clock(time.time() - 60)) == 8
    assert len(terminal.clock(time.time() - 90_000)) == len("11-22 09:46")
