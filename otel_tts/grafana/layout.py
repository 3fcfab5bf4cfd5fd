"""Layout: panels flow from left to right over Grafana's 24 columns, under their headings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grafanalib.core import GridPos

from otel_tts.grafana.elements import HeadingRow

COLUMNS = 24
_HEADING = 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel and the room that it takes, in columns and in Grafana's units of height."""

    panel: Any
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PanelSection:
    """A heading and the panels under it; without a title, the panels alone. collapsed: what few use, hidden until it is opened."""

    title: str
    panels: Sequence[Placed]
    collapsed: bool = False


def flow(sections: Sequence[PanelSection]) -> list[Any]:
    """All headings and panels, each with its place and its id, from top to bottom. A line is as high as its highest panel.

    Args:
        sections: in their order.
    """
    panels: list[Any] = []
    top = number = 0
    for section in sections:
        number += 1
        row = HeadingRow(title=section.title, collapsed=section.collapsed)
        if section.title:
            panels.append(_at(row, 0, top, COLUMNS, _HEADING, number))
            top += _HEADING
        inside, below = row.panels if section.collapsed else panels, top
        for line in _lines(section.panels):
            height, left = max(placed.height for placed in line), 0
            for placed in line:
                number += 1
                inside.append(_at(placed.panel, left, below, placed.width, height, number))
                left += placed.width
            below += height
        top = top if section.collapsed else below
    return panels


def _lines(panels: Sequence[Placed]) -> Iterator[list[Placed]]:
    line: list[Placed] = []
    for placed in panels:
        if sum(one.width for one in line) + placed.width > COLUMNS:
            yield line
            line = []
        line.append(placed)
    if line:
        yield line


def _at(panel: Any, left: int, top: int, width: int, height: int, number: int) -> Any:
    panel.gridPos, panel.id = GridPos(h=height, w=width, x=left, y=top), number
    return panel
