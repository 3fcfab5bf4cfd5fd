"""Dashboards hold together: places, ids, links, queries, and the files that are committed."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tts.conditions import Objectives
from otel_tts.conditions.burns import BURNS
from otel_tts.grafana.variables import scope
from otel_tts.promql import QUERIES
from tests.grafana.boards import BOARDS, DIRECTORY, JSON, asking, named, panels
from tests.grafana.linter import targets
from tools.generate import GENERATED, stale

ROOT = Path(__file__).parents[2]
COLUMNS = 24
UIDS = {board["uid"]: board for board in BOARDS.values()}
RUNBOOKS = {
    heading.lower() for heading in re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "runbooks.md").read_text("utf-8"), re.MULTILINE)
}
SOURCES = {
    source["uid"]: source["type"]
    for path in (ROOT / "deploy" / "grafana" / "provisioning" / "datasources").glob("*.yaml")
    for source in yaml.safe_load(path.read_text("utf-8"))["datasources"]
}
EXPRESSIONS = {
    query(scope(asked_about, window, Objectives()))
    for query in QUERIES.values()
    for asked_about in ("service", "collector")
    for window in ("$__rate_interval", "$__range", "$window", *(burn.label for burn in BURNS))
}
"""Everything that a panel may ask Prometheus."""
Check = Callable[[JSON], Iterator[str]]


def misplaced(board: JSON) -> Iterator[str]:
    """Panels that leave the grid or lie on each other."""
    for panel in panels(board):
        place = panel["gridPos"]
        if not (0 <= place["x"] < place["x"] + place["w"] <= COLUMNS and place["y"] >= 0 and place["h"] > 0):
            yield f"{named(panel)} leaves the grid: {place}"
    hidden = [row["panels"] for row in board["panels"] if row.get("panels")]
    for one, other in (pair for group in (board["panels"], *hidden) for pair in combinations(group, 2)):
        if all(
            one["gridPos"][at] < other["gridPos"][at] + other["gridPos"][by]
            and other["gridPos"][at] < one["gridPos"][at] + one["gridPos"][by]
            for at, by in ("xw", "yh")
        ):
            yield f"{named(one)} and {named(other)} lie on each other"


def confused(board: JSON) -> Iterator[str]:
    """Ids and names that two things share."""
    yield from (
        f"{count} panels have the id {number}" for number, count in Counter(p["id"] for p in panels(board)).items() if count > 1
    )
    names = Counter(variable["name"] for variable in board["templating"]["list"])
    yield from (f"{count} variables are named {name}" for name, count in names.items() if count > 1)
    for panel in asking(board):
        refs = Counter(target["refId"] for target in panel["targets"])
        yield from (f"{named(panel)} has {count} queries {ref}" for ref, count in refs.items() if count > 1)


def dangling(board: JSON) -> Iterator[str]:
    """Links that lead nowhere: to dashboards, variables, runbooks, tags and data sources."""
    here = {variable["name"] for variable in board["templating"]["list"]}
    for text in texts(board):
        for uid, query in re.findall(r"/d/([\w-]+)\??([^\s)]*)", text):
            there = {variable["name"] for variable in UIDS[uid]["templating"]["list"]} if uid in UIDS else set()
            if uid not in UIDS:
                yield f"there is no dashboard {uid}"
            elif missing := set(re.findall(r"var-(\w+)=", query)) - there:
                yield f"{uid} has no variable {', '.join(sorted(missing))}"
        yield from (f"there is no runbook {name}" for name in re.findall(r"runbooks\.md#([\w-]+)", text) if name not in RUNBOOKS)
        for name in re.findall(r"\$\{?([a-z]\w*)", text):
            if name not in here:
                yield f"there is no variable {name}"
    for link in board["links"]:
        if link["type"] == "dashboards" and not all(set(link["tags"]) <= set(other["tags"]) for other in BOARDS.values()):
            yield f"not every dashboard has the tags {link['tags']}"
    for variable in board["templating"]["list"]:
        if variable["type"] == "datasource" and SOURCES.get(variable["current"]["value"]) != variable["query"]:
            yield f"there is no {variable['query']} data source {variable['current']['value']}"


def texts(value: Any) -> Iterator[str]:
    """All texts in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def unregistered(board: JSON) -> Iterator[str]:
    """PromQL that was written somewhere else than in `otel_tts.promql`."""
    return (
        f"{where} asks what no named query asks: {target['expr']}"
        for where, target in targets(board)
        if target["expr"] not in EXPRESSIONS
    )


def _move(board: JSON) -> None:
    one, other = list(asking(board))[:2]
    other["gridPos"] = {**one["gridPos"], "x": one["gridPos"]["x"] + 1, "w": 1, "h": 1}


def _describe(text: str) -> Callable[[JSON], None]:
    return lambda board: next(asking(board)).update(description=text)


CHECKS: Mapping[Check, tuple[Callable[[JSON], Any], ...]] = {
    misplaced: (_move, lambda board: board["panels"][-1]["gridPos"].update(w=25)),
    confused: (
        lambda board: board["panels"][1].update(id=board["panels"][0]["id"]),
        lambda board: board["templating"]["list"].append(board["templating"]["list"][0]),
        lambda board: next(asking(board))["targets"].append(next(asking(board))["targets"][0]),
    ),
    dangling: (
        _describe("[more](/d/otel-tts-voices)"),
        _describe("[more](/d/otel-tts-pipeline?var-provider=piper)"),
        _describe("docs/runbooks.md#ttsnosuchalert"),
        _describe("Requests of $tenant."),
        lambda board: board["links"][0].update(tags=["speech"]),
        lambda board: board["templating"]["list"][0]["current"].update(value="victoria"),
    ),
    unregistered: (lambda board: next(asking(board))["targets"][0].update(expr='up{service_name=~"$service"}'),),
}
"""What holds a dashboard together, each with what breaks it."""


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_holds(check: Check, board: str) -> None:
    """Every panel in its place, every id its own, every link with an end, every query a named one."""
    assert list(check(BOARDS[board])) == []


@pytest.mark.parametrize(
    ("check", "break_it"),
    [
        pytest.param(check, way, id=f"{check.__name__}-{number}")
        for check, ways in CHECKS.items()
        for number, way in enumerate(ways)
    ],
)
def test_what_does_not_hold_is_told(check: Check, break_it: Callable[[JSON], Any]) -> None:
    """Each of these is found, and nothing else."""
    board = copy.deepcopy(BOARDS["overview"])
    break_it(board)
    assert len(list(check(board))) == 1


def test_they_are_told_apart() -> None:
    """No two have a uid or a title in common, and each is named by its file."""
    assert len(UIDS) == len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    assert {board["uid"] for board in BOARDS.values()} == {f"otel-tts-{name}" for name in BOARDS}


def test_committed_is_what_is_generated() -> None:
    """Regenerating leaves no difference, and no file without a source."""
    generated = {name for name in GENERATED if name.startswith("dashboards/") and name.endswith(".json")}
    assert generated == {f"dashboards/{path.name}" for path in DIRECTORY.glob("*.json")}
    assert generated & set(stale(ROOT)) == set()
