"""Legends of the live dashboard, drawn by Plotly in a real browser that is as wide as a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Page
from plotly.offline import get_plotlyjs

from otel_tts import palette, semconv
from otel_tts.history import Request, Span, Timeline, Trace
from otel_tts.live import charts, conversation, waterfall
from otel_tts.live.charts import Line
from otel_tts.live.screens import drift
from tests.browser import launched
from tests.live.test_charts import PERIOD, WINDOWS, timeline

PHONE_PX = 366


@pytest.fixture(scope="module")
def phone() -> Iterator[Page]:
    """A page with Plotly, as wide as a figure on a telephone."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": PHONE_PX, "height": 900})
        page.set_content("<body style='margin:0'><div id='figure'></div>")
        page.add_script_tag(content=get_plotlyjs())
        yield page


def drawn(page: Page, figure: go.Figure) -> tuple[float, float]:
    """How high the legend's scroll bar is and how high the plot, in pixels."""
    page.evaluate(f"Plotly.newPlot('figure', {{...{figure.to_json()}, config: {{displayModeBar: false}}}})")
    height: float = page.evaluate("+(document.querySelector('.legend .scrollbar')?.getAttribute('height') ?? 0)")
    plot: float = page.evaluate("document.querySelector('.nsewdrag').getBoundingClientRect().height")
    return height, plot


def lines(number: int, length: int) -> list[Line]:
    """So many lines with names of that length."""
    points = [(*window, 0.5) for window in WINDOWS]
    return [Line(f"{index} ".ljust(length, "x"), points, palette.CYCLE[index % 8]) for index in range(number)]


@pytest.mark.parametrize("number", [2, 5, 9])
@pytest.mark.parametrize("length", [3, 14, 30])
def test_nobody_scrolls_in_a_legend(phone: Page, number: int, length: int) -> None:
    """Whatever the number of names and their length: all are to be seen, and the plot has room."""
    named = lines(number, length)
    for figure in (
        charts.course(named, "s", PERIOD, reference={"reference p95": 2.5}),
        charts.course(named, "share", PERIOD),
        charts.bars(named, "1/s", PERIOD),
    ):
        bar, plot = drawn(phone, figure)
        assert bar == 0
        assert plot >= 100


def test_drift_fits_a_telephone(phone: Page) -> None:
    """As many scores as are drawn, with the longest names that there are."""
    keys = "gen_ai.provider.name", "tts.drift.column"
    points = timeline(0.5, 0.7, 0.4).points
    scores = [Timeline(dict(zip(keys, (f"provider-{n}", "real_time_factor_tail"), strict=True)), points) for n in range(12)]
    named = drift.lines(drift.highest(scores), [])
    assert len(named) == len(palette.CYCLE)
    assert named[0].name == "provider-0: real-time factor tail"
    high = [Timeline(one.attributes, timeline(0.5, 3.3, 0.4).points) for one in scores]
    bar, plot = drawn(phone, charts.course(drift.lines(drift.highest(high), []), "{score}", PERIOD, reference={"limit": 1.0}))
    assert (bar, plot >= 100) == (0, True)
    bar, plot = drawn(phone, charts.course(named, "{score}", PERIOD, reference={"limit": 1.0}))
    assert (bar, plot >= 100) == (0, True)


def test_a_conversation_of_one_utterance_fits(phone: Page) -> None:
    """Its figure is low, and all that may happen in an utterance has a name."""
    nothing = Request(**dict.fromkeys((field.name for field in fields(Request)), None))  # type: ignore[arg-type]
    utterance = {
        "start": PERIOD.start,
        "duration": 1.5,
        "ttfb": 0.5,
        "ttfa": 0.75,
        "interrupted": 1.0,
        "delivered": 0.5,
        "outcome": "cancelled",
    }
    bar, plot = drawn(phone, conversation.figure([replace(nothing, **utterance)]))  # type: ignore[arg-type]
    assert (bar, plot >= 50) == (0, True)


def test_a_horizontal_axis_begins_with_its_zero(phone: Page) -> None:
    """The first tick's words are not left out for want of room, in a request's waterfall and in a conversation."""
    ids = {"trace_id": "a" * 32, "span_id": "b" * 16, "parent_id": None, "service": "speech", "version": "1"}
    span = Span(
        name=semconv.SYNTHESIS_SPAN.name, kind="SERVER", start=PERIOD.start, duration=0.9, status="OK", status_message="",
        attributes={}, events=(), links=(), **ids,  # type: ignore[arg-type]
    )  # fmt: skip
    nothing = Request(**dict.fromkeys((field.name for field in fields(Request)), None))  # type: ignore[arg-type]
    utterance = replace(nothing, start=PERIOD.start, duration=1.5, outcome="ok")
    for figure in (waterfall.figure(Trace("a" * 32, (span,))), conversation.figure([utterance])):
        drawn(phone, figure)
        texts: list[str] = phone.evaluate(
            """[...document.querySelectorAll('.xtick text')].filter(text => text.getBoundingClientRect().left >= 0
                && getComputedStyle(text).opacity > 0 && getComputedStyle(text).display !== 'none').map(text => text.textContent)"""
        )
        assert texts[0] == "0 ms"
        assert len(texts) >= 4


def test_a_wide_legend_changes_no_figure() -> None:
    """What fits as it is stays as high as it was, so that charts beside each other do."""
    for names in (("p50", "p95", "p99"), semconv.OUTCOME.values):
        figure = charts.course([Line(str(name), [(*WINDOWS[0], 0.5)], "#000000") for name in names], "s", PERIOD)
        assert figure.layout.height == charts.HEIGHT
