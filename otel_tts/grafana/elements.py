"""What Grafana 13 expects of a dashboard's parts, where grafanalib 0.7 emits the JSON of older ones.

Each class emits only what the schema of `schemaVersion` 42 knows, and nothing that is empty: a missing key means Grafana's default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attr
from grafanalib import core

SCHEMA_VERSION = 42
JSON = dict[str, Any]
_PANEL = (
    "id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "options", "targets", "transformations", "links",
    "maxDataPoints", "interval", "collapsed", "panels",
)  # fmt: skip
_DASHBOARD = (
    "uid", "title", "description", "tags", "editable", "graphTooltip", "links", "panels", "refresh", "schemaVersion", "templating",
    "time", "timepicker", "timezone", "version", "annotations",
)  # fmt: skip


def present(value: Any) -> Any:
    """The value as plain JSON, without what is None in it, at any depth but in thresholds.

    Args:
        value: a part of a panel.
    """
    if isinstance(value, Step):
        return value.to_json_data()
    if hasattr(value, "to_json_data"):
        value = value.to_json_data()
    if isinstance(value, Mapping):
        return {key: present(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [present(item) for item in value]
    return value


@attr.s(auto_attribs=True, frozen=True)
class Step:
    """One step of thresholds: a colour from a value upwards. The first has no value."""

    colour: str
    value: float | None = None

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON. The value of the first step is null."""
        return {"color": self.colour, "value": self.value}


def _filled(json: JSON, keys: Sequence[str]) -> JSON:
    return {key: json[key] for key in keys if json.get(key) not in (None, [], {}, "")}


@attr.s(auto_attribs=True, kw_only=True)
class PanelTarget:
    """A query of a panel."""

    ref: str
    datasource: JSON
    query: JSON

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        return {"refId": self.ref, "datasource": self.datasource, **self.query}


class Chart(core.TimeSeries):  # type: ignore[misc]  # grafanalib has no types
    """Lines over time."""

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        json = super().to_json_data()
        json["fieldConfig"]["defaults"]["custom"]["scaleDistribution"] = {"type": "linear"}
        json["options"]["legend"]["showLegend"] = True
        return _filled(json, _PANEL)


class OtherPanel(core.Panel):  # type: ignore[misc]
    """A panel of a type that grafanalib does not have: the parts of that type are in ``extraJson``."""

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        return _filled(self.panel_json({}), _PANEL)


class HeadingRow(core.RowPanel):  # type: ignore[misc]
    """A heading; the panels after it are its own until the next."""

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        json = _filled(super().to_json_data(), ("id", "type", "title", "gridPos"))
        return {**json, "collapsed": self.collapsed, "panels": [panel.to_json_data() for panel in self.panels]}


@attr.s(auto_attribs=True, kw_only=True)
class DashboardVariable:
    """A choice at the top of a dashboard. every: what the choice "All" stands for; empty: one at a time, and no such choice."""

    name: str
    label: str
    description: str
    kind: str
    query: str | JSON
    datasource: JSON | None = None
    chosen: str = ""
    chosen_text: str = ""
    every: str = ""

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        choice: JSON = {"text": self.chosen_text or self.chosen, "value": self.chosen}
        if self.every:
            choice = {"text": [self.chosen or "All"], "value": [self.chosen or "$__all"]}
        several: JSON = (
            {"multi": True, "includeAll": True, "allValue": self.every} if self.every else {"multi": False, "includeAll": False}
        )
        if self.kind == "interval":
            several = {}
        return {
            "name": self.name,
            "label": self.label,
            "description": self.description,
            "type": self.kind,
            "query": self.query,
            "datasource": self.datasource,
            "current": choice,
            **several,
            **({"auto": True, "auto_count": 24, "auto_min": "5m", "refresh": 2} if self.kind == "interval" else {}),
            **({"refresh": core.REFRESH_ON_TIME_RANGE_CHANGE, "sort": core.SORT_ALPHA_ASC} if self.kind == "query" else {}),
            "hide": core.SHOW,
            "options": [],
        }


class Board(core.Dashboard):  # type: ignore[misc]
    """A dashboard."""

    def to_json_data(self) -> JSON:
        """Give Grafana's JSON."""
        return _filled(super().to_json_data() | {"editable": False}, _DASHBOARD)
