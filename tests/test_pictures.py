"""The pictures of dashboards: what is drawn for series, from the panels that are delivered."""

from __future__ import annotations

import json
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
    assert drawn["data"][0]["y"] == [0.5, 0.6, None, 0.7]
    assert len(drawn["data"][0]["x"]) == 4


def test_every_state_is_drawn() -> None:
    """A square for each point, by the words of the panel."""
    for panel in panels("state-timeline"):
        drawn = figures.states(panel, [Series("piper", {}, [(START, 1.0), (START + 15, 0.0)])])
        assert len(drawn["data"][0]["x"]) == 2
        assert len(set(drawn["data"][0]["marker"]["color"])) == 2
