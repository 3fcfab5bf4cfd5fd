"""The headline of a report: one page, for people who did not run it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser

from otel_tts.commands.report.summary import comparison_page
from otel_tts.history import Request
from otel_tts.report import columns
from otel_tts.report.columns import LOUDNESS
from otel_tts.report.comparison import SampleComparison
from otel_tts.report.drift import Finding, Judgement
from otel_tts.report.headline import Headline, change, in_words
from otel_tts.report.sample import Sample
from tests.browser import launched

HOSTILE = '<img src=x onerror="alert(1)">|`*[a](javascript:1)'


def finding(status: str, measure: str, score: float | None = 1.0, group: str = "piper") -> Finding:
    """One measure."""
    return Finding(measure, "performance", "piper", group, "s", status, 40, 50, 0.2, 0.1, score)  # type: ignore[arg-type]


def test_what_drifted_comes_first() -> None:
    """Then what got better, what is steady, what was not judged; within each, what moved farthest."""
    findings = (
        finding("not judged", "a", None),
        finding("steady", "b", 50.0),  # far in one direction, and within its limit
        finding("drifted", "c", 1.5),
        finding("drifted", "d", 9.0),
    )
    headline = Headline("speech, a day", Judgement("profile:good", findings))
    assert [each.measure for each in headline.findings()] == ["d", "c", "b", "a"]
    assert headline.verdict == "Drifted: compared with profile:good, 2 measures have drifted."
    page = headline.html()
    assert re.findall(r'data-name="measure">(\w)<', page) == ["d", "c", "b", "a"]
    assert "<style>:root{color-scheme:light dark;background:Canvas;color:CanvasText}" in page  # whatever it stands in
    assert "+100%" in page
    folded = page.partition("<details><summary>1 measure was not judged</summary>")[2].partition("</details>")[0]
    assert re.findall(r'data-name="measure">(\w)<', folded) == ["a"]  # a page of them would hide what comes after


@pytest.mark.parametrize(("then", "now", "moved"), [
    (7.3, 14.24, "6.9 dB quieter"), (14.24, 7.3, "6.9 dB louder"), (0.0, 3.0, "3.0 dB quieter"), (20.0, 20.04, "0.0 dB"),
])  # fmt: skip
def test_a_change_of_loudness_is_in_db(then: float, now: float, moved: str) -> None:
    """Decibels are a ratio: per cent of them say nothing, and more of them below full scale is quieter."""
    loudness = replace(finding("drifted", "loudness"), unit=LOUDNESS.unit, reference=then, current=now)
    headline = Headline("speech", Judgement("last-7d", (loudness,)))
    assert change(loudness) == moved
    assert f'data-name="change">{moved}<' in headline.html()
    assert moved in headline.markdown().replace("\\", "")


def test_only_ratios_of_levels_are_in_db() -> None:
    """Every measure with decibels as its unit is the one whose change is said so: another one needs its own words."""
    measures = [each for each in vars(columns).values() if isinstance(each, columns.Measure)]
    assert [each for each in measures if "dB" in each.unit] == [LOUDNESS]
    assert not LOUDNESS.relative


@pytest.mark.parametrize(
    ("status", "score", "p_value", "why"),
    [
        ("steady", 3.3, 0.052, "may be chance (p 0.052, certain below 0.0001)"),  # 5 of 30 in place of none
        ("steady", 3.3, 1e-4, "may be chance (p 0.0001, certain below 0.0001)"),
        ("steady", 3.3, 1e-9, ""),
        ("steady", 1.0, 0.5, ""),
        ("steady", None, None, ""),
        ("drifted", 3.3, 1e-9, ""),
    ],
)
def test_what_moved_far_and_is_steady_says_why(status: str, score: float | None, p_value: float | None, why: str) -> None:
    """A share of 17 % in place of 0 % is called steady only with the reason beside it: so few requests may have it by chance."""
    moved = replace(finding(status, "latency_tail", score), p_value=p_value)
    page = Headline("speech", Judgement("last-7d", (moved,))).html()
    assert re.findall(r'data-name="why not">(.*?)<', page) == [why]
    description = Headline("speech", Judgement("last-7d", (moved,))).markdown()
    far = bool(why)
    assert ("in multiples of what matters" in description) is (
        far or status == "drifted"
    )  # the run's metrics have the same score
    assert why.replace("(", r"\(").replace(")", r"\)") in description.partition("result")[2]


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


def test_a_reference_is_a_time_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As all times beside it; what is no range of time stays as it was given."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        stored = "range:2026-03-28T23:30:00Z..2026-03-29T01:30:00Z"
        shown = "2026-03-29 00:30:00 CET to 03:30:00 CEST"
        assert in_words(stored) == shown
        assert Headline("speech", Judgement(stored, (finding("steady", "latency"),))).verdict.startswith(
            f"Steady: compared with {shown},"
        )
        assert [in_words(given) for given in ("last-7d", "version:1.2", "profile:range", "good", "range:no")] == [
            "last-7d", "version:1.2", "profile:range", "good", "range:no",
        ]  # fmt: skip
    finally:
        monkeypatch.undo()
        time.tzset()


def test_values_have_units() -> None:
    """Beside each, or once beside the measure."""
    loud = replace(finding("steady", "loudness"), unit="dB below full scale", current=18.54, reference=20.0)
    page = Headline("speech", Judgement("last-7d", (loud, finding("steady", "first_audio")))).html()
    assert 'data-name="measure">loudness (dB below full scale)<' in page
    assert 'data-name="now">18.5<' in page
    assert 'data-name="measure">first audio<' in page
    assert 'data-name="now">200 ms<' in page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with launched() as browser:
        yield browser


def test_it_is_read_on_a_telephone(chromium: Browser) -> None:
    """All cells of a row are on the screen, each with its heading, whatever the names; on a wide screen it is a table."""
    findings = tuple(finding(status, "real_time_factor_tail", group="a provider / a-model-of-some-length / en_US-joe-medium")
                     for status in ("drifted", "steady", "not judged"))  # fmt: skip
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.set_content(Headline("speech, a day", Judgement("last-7d", findings)).html())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("[...document.querySelectorAll('td')].every(cell => cell.getBoundingClientRect().right <= 390)")
    assert page.evaluate("getComputedStyle(document.querySelector('td[data-name=change]'), '::before').content") == '"change"'
    page.set_viewport_size({"width": 1440, "height": 900})
    assert page.evaluate("getComputedStyle(document.querySelector('td[data-name=change]'), '::before').content") == "none"
    page.close()


def test_the_page_of_a_comparison_is_its_own() -> None:
    """Its sides are its headings, and the worst requests, those of the second side, lead to their traces."""
    slow = Request(**{**dict.fromkeys(Request.__dataclass_fields__), "trace_id": "ab" * 16, "duration": 9.0, "outcome": "ok"})  # type: ignore[arg-type]
    findings = (finding("steady", "latency"),)
    sides = SampleComparison(Sample(requests=3), Sample(requests=5, worst=(slow,)), Judgement("1.4.0", findings))
    page = comparison_page("speech", "1.4.0", "1.5.0", sides, "https://jaeger.example/trace/{trace_id}").html()
    assert re.findall("<h1>(.*?)</h1>", page) == ["speech: 1.5.0 compared with 1.4.0"]
    assert re.findall("<h2>(.*?)</h2>", page) == ["Figures", "All measures", "Worst requests of 1.5.0"]
    assert f'<a href="https://jaeger.example/trace/{"ab" * 16}">' in page
    assert re.findall("<p>(.*?)</p>", page) == []
    assert [heading for heading in re.findall('<th scope="col">(.*?)<', page) if heading[0].isdigit()] == ["1.4.0", "1.5.0"]
