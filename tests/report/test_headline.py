"""The headline of a report: one page, for people who did not run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_tts.report.drift import Finding, Judgement
from otel_tts.report.headline import Headline, change

HOSTILE = '<img src=x onerror="alert(1)">|`*[a](javascript:1)'


def finding(status: str, measure: str, score: float | None = 1.0, group: str = "piper") -> Finding:
    """One measure."""
    return Finding(measure, "performance", "piper", group, "s", status, 40, 50, 0.2, 0.1, score)  # type: ignore[arg-type]


def test_what_drifted_comes_first() -> None:
    """Then what got better, what is steady, what was not judged; within each, what moved farthest."""
    findings = (
        finding("not judged", "a", None),
        finding("steady", "b"),
        finding("drifted", "c", 1.5),
        finding("drifted", "d", 9.0),
    )
    headline = Headline("speech, a day", Judgement("profile:good", findings))
    assert [each.measure for each in headline.findings()] == ["d", "c", "b", "a"]
    assert headline.verdict == "Drifted: compared with profile:good, 2 measures have drifted."
    page = headline.html()
    assert page.index("<td>d</td>") < page.index("<td>c</td>") < page.index("<td>b</td>") < page.index("<td>a</td>")
    assert "<style>:root{color-scheme:light dark;background:Canvas;color:CanvasText}" in page  # whatever it stands in
    assert "+100%" in page


def test_categories_that_moved_within_the_limit_are_not_called_the_same() -> None:
    """A distribution has no middle: its change is in words, which claim no more than was judged."""
    moved = Finding("voice", "traffic", "", "", "", "steady", 40, 50, score=0.37)
    assert change(moved) == "no difference that matters"
    assert change(replace(moved, status="changed")) == "other distribution"


@pytest.mark.parametrize("judgement", [Judgement("", reason="there is nothing to compare it with"), Judgement("previous")])
def test_what_was_not_judged_is_no_good_news(judgement: Judgement) -> None:
    """It says so, and why."""
    headline = Headline("speech", judgement)
    assert headline.verdict.startswith("Not judged: ")
    assert "teady:" not in headline.html() + headline.markdown()


def test_words_from_telemetry_are_text() -> None:
    """Neither HTML nor Markdown that comes with names is obeyed."""
    headline = Headline(HOSTILE, Judgement(HOSTILE, (finding("drifted", "latency", group=HOSTILE),)), [(HOSTILE, HOSTILE)])
    assert "<img" not in headline.html()
    note = headline.markdown()
    assert "<img" not in note.replace("\\<", "")
    assert "](javascript" not in note
