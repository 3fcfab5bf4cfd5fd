"""Dashboards are what Grafana's own types say that dashboards are."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.grafana.boards import BOARDS, JSON, asking, named, panels

pytestmark = pytest.mark.timeout(900)  # the first of them may have to wait for npm
REQUIRED = bool(os.environ.get("REQUIRE_TOOLS"))  # tests themselves see none of our variables
MAKES_SCHEMA = Path(__file__).parents[2] / "tools" / "grafana_schema.py"
QUERIES = {
    "prometheus": {"refId", "datasource", "expr", "format", "range", "instant", "exemplar", "editorMode", "legendFormat", "interval"},
    "jaeger": {"refId", "datasource", "queryType", "service", "operation", "tags", "minDuration", "limit"},
    "tempo": {"refId", "datasource", "queryType", "query", "limit", "tableType", "filters"},
}  # fmt: skip
"""What we say in a query, by kind of data source: the package leaves these to the data sources."""
OF_PROMETHEUS = {"target", "titleFormat", "textFormat", "tagKeys", "useValueForTime"}
OF_INTERVALS = {"auto", "auto_count", "auto_min"}
COUNTED = re.compile(r"count:[a-z]+/s")
"""Grafana makes a unit of any word after ``count:``."""


class Schema:
    """What a dashboard may be. Defaults stand in the panels' code, so what the types require of options need not be there."""

    def __init__(self, document: JSON) -> None:
        self._dashboard = document["properties"]["dashboard"]
        either = self._dashboard["properties"]["panels"]["items"]["anyOf"]
        (self._row,) = (one for one in either if "panels" in one["properties"])
        (self._panel,) = (one for one in either if one is not self._row)
        self._kinds = document["properties"]["panels"]["properties"]
        self._standard = self._panel["properties"]["fieldConfig"]["properties"]["defaults"]
        self._units = set(document["units"])

    def faults(self, board: JSON) -> list[str]:
        """What is wrong with a dashboard, for people."""
        problems = [*_faults(self._dashboard, {**_without_own(board), "panels": []}, "dashboard")]
        for panel in panels(board):
            problems += self._of_panel(panel)
        return problems

    def _of_panel(self, panel: JSON) -> Iterator[str]:
        where = named(panel)
        if panel["type"] == "row":
            yield from _faults(self._row, panel, where)
            return
        yield from _faults(self._panel, panel, where)
        kind = self._kinds.get(panel["type"].replace("-", ""))
        if kind is None:
            yield f"{where}: there is no kind of panel {panel['type']}"
            return
        of_kind = {name: _nothing_required(schema) for name, schema in kind["properties"].items()}
        yield from _faults(of_kind["options"], panel.get("options", {}), f"{where}: options")
        fields = panel.get("fieldConfig", {})
        yield from self._of_fields(fields.get("defaults", {}), of_kind.get("fields"), f"{where}: fieldConfig.defaults")
        for override in fields.get("overrides", ()):
            for one in override["properties"]:
                of_all, _, of_kind_only = one["id"].partition("custom.")
                message = {of_all: one["value"]} if of_all else {"custom": {of_kind_only: one["value"]}}
                yield from _faults(self._standard, message, f"{where}: fieldConfig.overrides")
                yield from self._of_fields(message, of_kind.get("fields"), f"{where}: fieldConfig.overrides")
        for target in panel.get("targets", ()):
            queries = QUERIES[target["datasource"]["type"]]
            yield from (f"{where}: target {target['refId']}: {key} is unknown" for key in target if key not in queries)
            yield from (f"{where}: target {target['refId']}: {key} is null" for key, value in target.items() if value is None)

    def _of_fields(self, fields: JSON, custom: JSON | None, where: str) -> Iterator[str]:
        if custom:
            yield from _faults(custom, fields.get("custom", {}), f"{where}.custom")
        elif fields.get("custom"):
            yield f"{where}.custom: this kind of panel has none"
        if (unit := fields.get("unit")) is not None and unit not in self._units and not COUNTED.fullmatch(unit):
            yield f"{where}: there is no unit {unit}"


def _without_own(board: JSON) -> JSON:
    """A dashboard without what its types leave to data sources (an annotation's words) and to one kind of variables (the interval's)."""
    annotations = [{key: v for key, v in one.items() if key not in OF_PROMETHEUS} for one in board["annotations"]["list"]]
    variables = [
        {key: v for key, v in one.items() if one.get("type") != "interval" or key not in OF_INTERVALS}
        for one in board["templating"]["list"]
    ]
    return {**board, "annotations": {"list": annotations}, "templating": {"list": variables}}


def _faults(schema: JSON, value: Any, where: str) -> Iterator[str]:
    for error in Draft7Validator(schema).iter_errors(value):
        yield f"{where}: {error.json_path}: {error.message}"


def _nothing_required(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _nothing_required(value) for key, value in schema.items() if key != "required"}
    return [_nothing_required(item) for item in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope="session")
def schema() -> Schema:
    """The schema, made of Grafana's types in the version of package.json, or taken from the cache."""
    made = subprocess.run([sys.executable, MAKES_SCHEMA], capture_output=True, text=True)
    if made.returncode:
        (pytest.fail if REQUIRED else pytest.skip)(made.stderr.strip())
    return Schema(json.loads(Path(made.stdout.strip()).read_text("utf-8")))


@pytest.mark.parametrize("name", BOARDS)
def test_what_is_committed_fits(name: str, schema: Schema) -> None:
    """Each dashboard, each of its panels by its kind, and each unit."""
    assert schema.faults(BOARDS[name]) == []


def _chart(board: JSON) -> JSON:
    return next(panel for panel in asking(board) if panel["type"] == "timeseries")


def _defaults(board: JSON) -> JSON:
    defaults: JSON = _chart(board)["fieldConfig"]["defaults"]
    return defaults


def _overriding(identity: str, value: Any) -> Callable[[JSON], None]:
    override = {"matcher": {"id": "byName", "options": "ok"}, "properties": [{"id": identity, "value": value}]}
    return lambda board: _chart(board)["fieldConfig"].update(overrides=[override])


WRONG: Mapping[str, tuple[Callable[[JSON], Any], str]] = {
    "a key no dashboard has": (lambda board: board.update(hideControls=True), "'hideControls' was unexpected"),
    "a null": (lambda board: board.update(refresh=None), "$.refresh: None is not of type 'string'"),
    "a number in words": (lambda board: board.update(schemaVersion="42"), "'42' is not of type 'number'"),
    "no schema version": (lambda board: board.pop("schemaVersion"), "'schemaVersion' is a required property"),
    "a key no variable has": (lambda board: board["templating"]["list"][0].update(tagsQuery=""), "'tagsQuery' was unexpected"),
    "a key no panel has": (lambda board: _chart(board).update(span=4), "'span' was unexpected"),
    "a key no heading has": (lambda board: board["panels"][0].update(height=4), "'height' was unexpected"),
    "a panel's null": (lambda board: _chart(board).update(interval=None), "None is not of type 'string'"),
    "a kind of panel there is not": (lambda board: _chart(board).update(type="graph2"), "there is no kind of panel graph2"),
    "an option of the wrong type": (
        lambda board: _chart(board)["options"]["legend"].update(showLegend="yes"),
        "'yes' is not of type",
    ),
    "an option there is not": (lambda board: _chart(board)["options"].update(sparkline={}), "options: $: Additional properties"),
    "an option's word there is not": (
        lambda board: _chart(board)["options"]["tooltip"].update(mode="all"),
        "'all' is not one of",
    ),
    "a threshold in words": (
        lambda board: _defaults(board)["thresholds"]["steps"][0].update(value="null"),
        "'null' is not",
    ),
    "a field there is not": (lambda board: _defaults(board).update(format="s"), "'format' was unexpected"),
    "a field of another kind of panel": (
        lambda board: _defaults(board)["custom"].update(cellOptions={}),
        "'cellOptions' was unexpected",
    ),
    "a unit there is not": (lambda board: _defaults(board).update(unit="seconds"), "there is no unit seconds"),
    "an override of what is not there": (_overriding("custom.width2", 1), "'width2' was unexpected"),
    "an override with a unit there is not": (_overriding("unit", "parsecs"), "there is no unit parsecs"),
    "a key no query has": (
        lambda board: _chart(board)["targets"][0].update(intervalFactor=2),
        "target A: intervalFactor is unknown",
    ),
    "a query's null": (lambda board: _chart(board)["targets"][0].update(interval=None), "target A: interval is null"),
}
"""What can be wrong with a dashboard: what does it, and what must be said of it."""


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_told(what: str, schema: Schema) -> None:
    """The check can fail: each of these is found, and nothing else."""
    board = copy.deepcopy(BOARDS["overview"])
    break_it, message = WRONG[what]
    break_it(board)
    faults = schema.faults(board)
    assert len(faults) == 1
    assert message in faults[0]
