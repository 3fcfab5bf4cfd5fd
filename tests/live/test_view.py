"""What is looked at, and which windows that makes."""

from __future__ import annotations

import pytest

from otel_tts.live.view import RANGES, Period, View, between


def test_a_view_survives_its_url() -> None:
    """All that was chosen is in the query, and nothing else; what only another page has is not."""
    view = View(range="6h", outcome="error", slower="0.5", request="0123456789abcdef")
    params = view.params(("outcome", "slower", "request"))
    assert params == {"range": "6h", "outcome": "error", "slower": "0.5", "request": "0123456789abcdef"}
    assert View.parse(params) == view
    assert view.params() == {"range": "6h"}
    assert View().params(("outcome", "request")) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("range", "2y"), ("refresh", "0s"), ("source", "elsewhere"), ("outcome", "fine"), ("slower", "-1"), ("slower", "nan"), ("slower", "x"),
     ("request", "../etc"), ("measure", "nothing"), ("unheard", "of"), ("range", ""),
     ("since", "yesterday"), ("until", "2026-13-01T00:00:00Z"), ("problem", "all"), ("where", "nothing"), ("where", "=x")],
)  # fmt: skip
def test_what_cannot_be_counts_as_not_said(name: str, value: str) -> None:
    """A mistyped address shows what no address would."""
    assert View.parse({name: value}) == View()


@pytest.mark.parametrize("range", RANGES)
@pytest.mark.parametrize("interval", [0.5, 10.0, 60.0])
def test_windows_stay_as_they_are(range: str, interval: float) -> None:
    """They begin at multiples of their length, cover the range, and the one under way can be counted."""
    now = 1795424417.0
    period = Period.from_range(range, now, interval)
    assert (period.start % period.step_s, period.closed % period.step_s) == (0, 0)
    assert period.now - period.closed >= 2 * interval
    assert period.step_s >= 2 * interval
    assert RANGES[range][0] - period.step_s <= period.length_s <= RANGES[range][0] + period.step_s + 2 * interval
    later = Period.from_range(range, now + 1, interval)
    assert (later.start, later.closed) == (period.start, period.closed)


@pytest.mark.parametrize("length", [0.5, 7.0, 61.0, 3600.0, 86_400.0, 40 * 86_400.0])
@pytest.mark.parametrize("interval", [0.5, 10.0, 60.0])
def test_a_time_of_its_own_can_be_counted(length: float, interval: float) -> None:
    """It ends where it was said, begins no later, and has windows that can be counted, about sixty at most."""
    end = 1795424417.0
    period = Period.between(end - length, end, interval)
    assert period.past
    assert period.now == end
    assert period.start <= max(end - length, end - 4 * interval) + period.step_s
    assert period.start < period.closed
    assert period.step_s >= 2 * interval
    assert (period.closed - period.start) / period.step_s <= 61


def test_a_time_that_was_chosen_survives_its_url() -> None:
    """In UTC to the second; one that ends before it begins is none."""
    since, until = between(1795424417.4, 1795424450.2)
    view = View(since=since, until=until)
    assert View.parse(view.params()) == view
    assert view.chosen == (1795424417, 1795424451)
    assert View(since=until, until=since).chosen is None
    assert View(since=since).chosen is None
