"""The dashboards as they are committed, and ways through them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
DIRECTORY = Path(__file__).parents[2] / "dashboards"
BOARDS: Mapping[str, JSON] = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}
"""By name."""


def panels(board: JSON) -> Iterator[JSON]:
    """Everything on a dashboard, headings and what they hide included."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def asking(board: JSON) -> Iterator[JSON]:
    """The panels that show data."""
    return (panel for panel in panels(board) if panel["type"] not in ("row", "text"))


def named(panel: JSON) -> str:
    """What to call a panel when something is wrong with it."""
    return f"panel {panel.get('id')} {panel.get('title', '')!r}"
