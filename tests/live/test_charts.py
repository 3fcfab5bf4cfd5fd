"""Figures: a gap is a gap, and every number says its unit."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Distribution, Point, Row, Timeline
from otel_tts.live import axes, charts
from otel_tts.live.charts import Line
from otel_tts.live.view import Period

PERIOD = Period(1795424400.0, 1795424490.0, 1795424515.0, 30.0)
WINDOWS = [(1795424400.0, 1795424430.0), (1795424430.0, 1795424460.0), (1795424460.0, 1795424490.0)]


def timeline(*values: float | Distribution | None, **attributes: str) -> Timeline:
    """One of those windows."""
    points = (Point(start, end, value) for (start, end), value in zip(WINDOWS, values, strict=True))
    return Timeline({f"tts.{name}": value for name, value in attributes.items()}, tuple(points))


def drawn(figure: Any) -> list[dict[str, Any]]:
    """What the browser gets."""
    traces: list[dict[str, Any]] = json.loads(figure.to_json())["data"]
    return traces


def test_a_window_without_a_value_is_a_gap() -> None:
    """Not zero and not bridged; a value between two gaps is still to be seen."""
    line = Line("p95", [(start, end, value) for (start, end), value in zip(WINDOWS, (None, 0.25, None), strict=True)], "#000000")
    (trace,) = drawn(charts.course([line], "s", PERIOD))
    assert trace["y"] == [None, 0.25, None]
    assert trace["connectgaps"] is False
    assert "markers" in trace["mode"]
    assert trace["customdata"] == [formatting.NOTHING, "250 ms", formatting.NOTHING]


def test_outcomes_have_their_order_and_colours() -> None:
    """Rates for each window, ok first, in the colours that they have everywhere."""
    one = Distribution({1.0: 30, math.inf: 30})
    timelines = [timeline(one, None, one, outcome="error"), timeline(one, one, one, outcome="ok")]
    traces = drawn(charts.bars(charts.of_timelines(timelines, semconv.OUTCOME, charts.rate, palette.OUTCOMES), "1/s", PERIOD))
    assert [(t["name"], t["y"], t["marker"]["color"]) for t in traces] == [
        ("ok", [1.0, 1.0, 1.0], palette.OUTCOMES["ok"]),
        ("error", [1.0, None, 1.0], palette.OUTCOMES["error"]),
    ]
    assert traces[0]["customdata"] == ["1.0/s"] * 3
    assert traces[0]["width"] == [30_000 * 0.92] * 3


def test_availability_shows_nothing_where_nothing_was_said() -> None:
    """Blocks for what is known, in a colour and a pattern; none where nobody said anything."""
    for share, number in ((1.0, 0), (0.25, 1), (0.0, 2)):
        made = Timeline({"gen_ai.provider.name": "piper"}, timeline(share, None, share).points)
        kinds = drawn(charts.states([made], semconv.PROVIDER, PERIOD))
        assert [len(kind["y"]) for kind in kinds] == [2 * (each == number) for each in range(3)]
    assert [kind["marker"]["pattern"]["shape"] for kind in kinds] == ["", ".", "/"]


def test_a_reference_far_away_does_not_flatten_what_is_measured() -> None:
    """The axis ends near the values unless the reference is near them too."""
    line = Line("p95", [(*window, 0.1) for window in WINDOWS], "#000000")
    far = charts.course([line], "s", PERIOD, reference={"reference": 2.5})
    near = charts.course([line], "s", PERIOD, reference={"reference": 0.2})
    assert far.layout.yaxis.range[1] < 0.2
    assert near.layout.yaxis.range[1] > 0.2


def test_a_reference_is_named_in_the_legend() -> None:
    """With its value; a label on the line would lie on what is measured."""
    figure = charts.course([Line("p95", [], "#000000")], "s", PERIOD, reference={"mean": 0.8, "p95": 2.5}, band=True)
    shapes = json.loads(figure.to_json())["layout"]["shapes"]
    assert [shape["name"] for shape in shapes if shape.get("showlegend")] == ["mean, 800 ms", "p95, 2.50 s"]
    assert "annotations" not in json.loads(figure.to_json())["layout"]


def test_no_two_outcomes_look_alike() -> None:
    """Each has a colour of its own."""
    assert len(set(palette.OUTCOMES.values())) == len(palette.OUTCOMES) == 7


@pytest.mark.parametrize(
    ("unit", "highest", "expected"),
    [
        ("s", 9.0, ["0 ms", "2 s", "4 s", "6 s", "8 s"]), ("s", 0.4, ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms"]),
        ("s", 2.1, ["0 ms", "500 ms", "1 s", "1.5 s", "2 s"]), ("1/s", 20.0, ["0/s", "5/s", "10/s", "15/s", "20/s"]),
        ("1/s", 0.9, ["0/s", "0.2/s", "0.4/s", "0.6/s", "0.8/s"]), ("{score}", 0.9, ["0", "0.2", "0.4", "0.6", "0.8"]),
        ("{request}", 4000.0, ["0", "1,000", "2,000", "3,000", "4,000"]),
        ("By", 2e6, ["0 B", "500 kB", "1 MB", "1.5 MB", "2 MB"]), ("{USD}", 0.9, ["$0.00", "$0.2", "$0.4", "$0.6", "$0.8"]),
    ],
)  # fmt: skip
def test_an_axis_has_the_words_of_numbers(unit: str, highest: float, expected: list[str]) -> None:
    """Its ticks say what a tile, a legend or the terminal says of the same value, without zeros at the end: lines and bars alike."""
    lines = [Line("p95", [(*window, value) for window, value in zip(WINDOWS, (0.0, highest), strict=False)], "#000000")]
    for figure in (charts.course(lines, unit, PERIOD), charts.bars(lines, unit, PERIOD)):
        axis = figure.layout.yaxis
        assert list(axis.ticktext) == expected
        assert all(axis.range[0] <= tick <= axis.range[1] for tick in axis.tickvals)


@given(low=st.floats(0, 1e6), width=st.floats(1e-6, 1e6), whole=st.booleans())
def test_an_axis_has_a_few_round_ticks(low: float, width: float, whole: bool) -> None:
    """Within its ends, evenly apart, and never so many that their words meet."""
    values = axes.ticks(low, low + width, whole=whole)
    assert len(values) <= 7
    assert whole or len(values) >= 2
    assert all(low - 1e-6 * width - 1e-9 * low <= value <= low + width * (1 + 1e-6) + 1e-9 * low for value in values)


@pytest.mark.parametrize(
    ("shares", "begins", "ends"),
    [
        ([], 0.0, 1.0), ([1.0, 1.0], 0.95, 1.0), ([0.995, 0.999], 0.95, 1.0),
        ([0.0, 0.01], 0.0, 0.1), ([0.0, 1.0], 0.0, 1.0), ([0.5, 0.6], 0.4, 0.7),
    ],
)  # fmt: skip
def test_an_axis_of_shares_fits_them(shares: list[float], begins: float, ends: float) -> None:
    """A line between 99.5 % and 99.9 % is seen to move: no share is cut off, and the axis ends at 0 and 100 %."""
    line = Line("success", [(*window, share) for window, share in zip(WINDOWS, shares, strict=False)], "#000000")
    axis = charts.course([line], "share", PERIOD).layout.yaxis
    low, high = axis.range
    assert begins <= low < high <= ends * 1.011
    assert all(low <= share < high for share in shares)
    assert high - low >= 0.01
    assert all(re.fullmatch(r"\d+(\.\d)?%", text) for text in axis.ticktext)
    assert len(set(axis.ticktext)) == len(axis.ticktext) >= 2


def test_what_is_known_to_be_at_least_so_much_is_dashed_and_says_so() -> None:
    """The line itself has a gap there: an exact value and a limit never look alike."""
    slow = Distribution({**dict.fromkeys(semconv.SYNTHESIS_DURATION.buckets, 1), math.inf: 10})
    values = (0.5, slow.quantile(0.95), 0.75)
    line = Line("p95", [(*window, value) for window, value in zip(WINDOWS, values, strict=True)], "#000000")
    exact, limit = drawn(charts.course([line], "s", PERIOD))
    last = semconv.SYNTHESIS_DURATION.buckets[-1]
    assert (exact["name"], exact["y"], exact["line"]["dash"]) == ("p95", [0.5, None, 0.75], "solid")
    assert (limit["name"], limit["y"], limit["line"]["dash"]) == (f"p95, at least {last:g} s", [None, last, None], "dash")
    assert limit["customdata"][1] == f"at least {last:g} s"


def test_what_is_known_to_be_at_most_so_much_is_dotted_at_its_bound() -> None:
    """Of few values the chart says what the cards say, and nothing that lies within the bucket."""
    few = Distribution({0.1: 0, 0.5: 1, 1.0: 1, math.inf: 1})
    values = (0.3, few.quantile(0.95), few.quantile(0.5))
    line = Line("p95", [(*window, value) for window, value in zip(WINDOWS, values, strict=True)], "#000000")
    figure = charts.course([line], "s", PERIOD)
    exact, limit = drawn(figure)
    assert (exact["name"], exact["y"], exact["line"]["dash"]) == ("p95", [0.3, None, None], "solid")
    assert figure.layout.yaxis.range[1] > 0.5
    assert (limit["name"], limit["y"], limit["line"]["dash"]) == ("p95, at most 500 ms", [None, 0.5, 0.5], "dot")
    assert limit["customdata"][1] == "at most 500 ms"


def test_a_provider_keeps_its_colour() -> None:
    """On every chart, whoever else is shown: one that is filtered away takes no colour from the others."""

    def colours(names: str) -> dict[str, str]:
        made = [Timeline({"gen_ai.provider.name": f"{name} keeps"}, timeline(1.0, 1.0, 1.0).points) for name in names]
        return {line.name: line.colour for line in charts.of_timelines(made, semconv.PROVIDER, charts.amount)}

    every = colours("bcd")
    assert len(set(every.values())) == 3
    assert colours("c").items() <= every.items()
    assert colours("acd").items() - every.items() == {("a keeps", colours("a")["a keeps"])}
    unknown = dict.fromkeys(field.name for field in fields(Row))
    row = Row(**{**unknown, "start": 0.0, "end": 1.0, "provider": "d keeps", "attempt_duration_p95": 1.0})  # type: ignore[arg-type]
    assert charts.by_provider([row], "attempt_duration_p95")[0].colour == every["d keeps"]


def test_of_a_thousand_voices_those_with_the_most_are_drawn() -> None:
    """As many as there are colours, the first of them the one with the most values."""
    many = [timeline(float(number), None, float(number), voice=f"voice-{number}") for number in range(1000)]
    kept = charts.most(many)
    assert [each.attributes["tts.voice"] for each in kept] == [f"voice-{number}" for number in range(999, 991, -1)]
    assert len({line.colour for line in charts.of_timelines(kept, semconv.VOICE, charts.amount)}) == len(kept)


def test_every_provider_is_named_beside_its_availability() -> None:
    """However many there are: no name is left out for want of room."""
    made = [Timeline({"gen_ai.provider.name": f"named {number}"}, timeline(1.0, 1.0, 1.0).points) for number in range(12)]
    axis = charts.states(made, semconv.PROVIDER, PERIOD).layout.yaxis
    assert (len(axis.tickvals), axis.ticktext) == (12, axis.tickvals)


def test_a_long_name_leaves_room_for_what_is_drawn() -> None:
    """Of 200 letters the first and the last are in legends and beside axes; two that differ between are two rows all the same."""
    names = [f"first {'x' * 90}{number}{'x' * 90} last" for number in range(2)]
    made = [Timeline({"gen_ai.provider.name": name}, timeline(1.0, 1.0, 1.0).points) for name in names]
    figure = charts.states(made, semconv.PROVIDER, PERIOD)
    assert list(figure.layout.yaxis.tickvals) == names
    unknown = dict.fromkeys(field.name for field in fields(Row))
    rows = [Row(**{**unknown, "start": 0.0, "end": 1.0, "provider": name, "attempt_count": 1.0}) for name in names]  # type: ignore[arg-type]
    lines = [*charts.of_timelines(made, semconv.PROVIDER, charts.amount), *charts.by_provider(rows, "attempt_count")]
    for shown in (*figure.layout.yaxis.ticktext, *(line.name for line in lines)):
        assert len(shown) == 40
        assert (shown[:6], shown[-5:]) == ("first ", " last")


@pytest.mark.parametrize("number", [3, 8, 9, 30])
@pytest.mark.parametrize("lowest", [True, False])
def test_of_many_providers_those_are_drawn_that_somebody_looks_for(number: int, lowest: bool) -> None:
    """The worst, no two of one colour; all where each has a colour of its own."""
    lines = [
        charts.Line(f"{n}", [(0.0, 1.0, None), (1.0, 2.0, float(n))], palette.CYCLE[n % (8 if number <= 8 else 3)])
        for n in range(number)
    ]
    drawn = charts.worst(lines, lowest=lowest)
    assert len({line.colour for line in drawn}) == len(drawn) == min(number, 8)
    kept = [float(line.name) for line in drawn]
    assert sorted(kept) == ([*range(number)][: len(kept)] if lowest else [*range(number)][-len(kept) :])
