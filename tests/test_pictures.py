"""The pictures of dashboards: what is drawn for series, from the panels that are delivered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.pictures import figures
from tools.pictures.answers import Series

BOARDS = Path(__file__).parent.parent / "dashboards"
START = 1795424400.0


def panels(kind: str) -> list[dict[str, Any]]:
    """All panels of a kind."""
    boards = [json.loads(path.read_text("utf-8")) for path in sorted(BOARDS.glob("*.json"))]
    every = [panel for board in boards for row in board["panels"] for panel in (row, *row.get("panels", ()))]
    return [panel for panel in every if panel["type"] == kind]


@pytest.mark.parametrize("panel", panels("timeseries"), ids=lambda panel: panel["title"])
def test_a_line_has_a_break_where_points_are_missing(panel: dict[str, Any]) -> None:
    """Every panel with lines can be drawn; a minute without a point is a gap and no straight line."""
    drawn = figures.lines(panel, [Series("piper", {}, [(START, 0.5), (START + 15, 0.6), (START + 75, 0.7)])])
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    assert drawn["data"][0]["y"] == ([0.5, 0.6, 0.7] if stacked else [0.5, 0.6, None, 0.7])
    assert len(drawn["data"][0]["x"]) == len(drawn["data"][0]["y"])


@pytest.mark.parametrize("panel", panels("timeseries"), ids=lambda panel: panel["title"])
def test_only_what_was_measured_is_marked(panel: dict[str, Any]) -> None:
    """Few points are marked; of many only those that stand alone; a series has none at the times of another."""
    many = [(START + 5 * number, 0.5) for number in range(60)]
    alone = (START + 900, 0.7)
    series = [
        Series("piper", {}, many),
        Series("none", {}, [(START, 0.0), (START + 5, 0.0)]),
        Series("espeak", {}, [*many, alone]),
    ]
    drawn = {one["name"]: one for one in figures.lines(panel, series)["data"]}
    marked = {name: [x for x, size in zip(one["x"], one["marker"]["size"], strict=True) if size] for name, one in drawn.items()}
    assert marked == {
        "piper": [],
        "none": [figures.moment(START), figures.moment(START + 5)],
        "espeak": [figures.moment(alone[0])],
    }


def test_an_alert_is_as_old_as_the_time_that_is_shown_says() -> None:
    """It counts from the end of that time, however much later the picture is drawn; the columns are in the panel's order."""
    (panel,) = (one for one in panels("table") if one["title"] == "Alerts firing")
    labels = {"severity": "page", "alertname": "TTSProviderFailing", "gen_ai_provider_name": "piper"}
    drawn = figures.alerts(panel, [Series("alerts", labels, [(START, (START - 240) * 1000)])], START)
    assert re.findall(r"<td[^>]*>(?:<a>)?([^<]*)", drawn)[:4] == ["page", "TTSProviderFailing", "piper", "4 min ago"]


def test_requests_are_drawn_in_the_panels_order() -> None:
    """The slowest first where the panel says so, and what tells them apart before their ids."""
    tables = [one for one in panels("table") if one["title"] != "Alerts firing"]
    rows = [("a1", "speech: Get", START, 2.0), ("b2", "speech: Get", START - 60, 9.0)]
    for panel in tables:
        drawn = figures.traces(panel, rows)
        assert re.findall("<th>([^<]*)", drawn) == ["Duration", "Start time", "Trace ID", "Trace name"]
        assert re.findall("<a>([^<]*)", drawn) == (["b2", "a1"] if panel["title"].startswith("Slow") else ["a1", "b2"])


def test_every_state_is_drawn() -> None:
    """A square for each point, by the words of the panel."""
    for panel in panels("state-timeline"):
        drawn = figures.states(panel, [Series("piper", {}, [(START, 1.0), (START + 15, 0.0)])])
        assert len(drawn["data"][0]["x"]) == 2
        assert len(set(drawn["data"][0]["marker"]["color"])) == 2
