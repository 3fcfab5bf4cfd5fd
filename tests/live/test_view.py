"""What is looked at, and which windows that makes."""

from __future__ import annotations

import pytest

from otel_tts.live.view import RANGES, Period, View


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
     ("request", "../etc"), ("measure", "nothing"), ("unheard", "of"), ("range", "")],
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
    assert (period.start % period.step, period.closed % period.step) == (0, 0)
    assert period.now - period.closed >= 2 * interval
    assert period.step >= 2 * interval
    assert RANGES[range][0] - period.step <= period.length <= RANGES[range][0] + period.step + 2 * interval
    later = Period.from_range(range, now + 1, interval)
    assert (later.start, later.closed) == (period.start, period.closed)
