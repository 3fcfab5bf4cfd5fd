"""Dashboards keep the rules of Grafana's dashboard-linter, and each of these can be broken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from otel_tts.promql import series
from otel_tts.semconv import CACHE_LOOKUPS, PROVIDER_AVAILABLE
from tests.grafana.boards import BOARDS, JSON, asking
from tests.grafana.linter import EXCLUDED, RULES, faults

COUNTER, OF_PROVIDERS = map(series, (CACHE_LOOKUPS, PROVIDER_AVAILABLE))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("rule", RULES)
def test_kept(rule: str, board: str) -> None:
    """Every dashboard keeps every rule."""
    assert faults(rule, BOARDS[board]) == []


def _panel(board: JSON) -> JSON:
    return next(asking(board))


def _variable(board: JSON, name: str) -> JSON:
    return next(variable for variable in board["templating"]["list"] if variable["name"] == name)


def _asked(expression: str, **more: Any) -> Callable[[JSON], None]:
    return lambda board: _panel(board)["targets"][0].update(expr=expression, **more)


def _of_loki(expression: str) -> Callable[[JSON], None]:
    return _asked(expression, datasource={"type": "loki", "uid": "loki"})


_CHOSEN = 'service_name=~"$service"'
BROKEN: Mapping[str, tuple[Callable[[JSON], Any], ...]] = {
    "template-datasource-rule": (
        lambda board: board["templating"]["list"].pop(0),
        lambda board: _variable(board, "traces").update(query="Jaeger : jaeger"),
    ),
    "template-job-rule": (
        lambda board: board["templating"]["list"].remove(_variable(board, "service")),
        lambda board: _variable(board, "service").update(type="custom"),
        lambda board: _variable(board, "service").update(multi=False),
        lambda board: _variable(board, "service").update(allValue=".*"),
        lambda board: _variable(board, "service")["datasource"].update(uid="prometheus"),
    ),
    "template-instance-rule": (
        lambda board: board["templating"]["list"].remove(_variable(board, "provider")),
        lambda board: _variable(board, "provider").update(allValue=".+"),
    ),
    "template-label-promql-rule": (
        lambda board: _variable(board, "service")["query"].update(query="label_values(up{, job)"),
        lambda board: _variable(board, "service")["query"].update(query="values(up, job)"),
    ),
    "template-on-time-change-reload-rule": (lambda board: _variable(board, "service").update(refresh=1),),
    "panel-datasource-rule": (
        lambda board: _panel(board)["datasource"].update(uid="prometheus"),
        lambda board: _panel(board)["targets"][0].pop("datasource"),
    ),
    "panel-title-description-rule": (
        lambda board: _panel(board).update(title=""),
        lambda board: _panel(board).pop("description"),
        lambda board: _panel(board).update(description="Requests a second."),
    ),
    "panel-units-rule": (lambda board: _panel(board)["fieldConfig"]["defaults"].pop("unit"),),
    "panel-no-targets-rule": (lambda board: _panel(board).pop("targets"),),
    "target-logql-rule": (_of_loki('{service_name=~"$service"}'),),
    "target-logql-auto-rule": (_of_loki('rate({service_name=~"$service"}[5m])'),),
    "target-promql-rule": (_asked("sum(rate(x[$__rate_interval])"), _asked("rate(x)"), _asked("")),
    "target-rate-interval-rule": (
        _asked(f"rate({COUNTER}{{{_CHOSEN}}}[5m])"),
        _asked(f"rate({COUNTER}{{{_CHOSEN}}}[$__range])", instant=False),
    ),
    "target-job-rule": (
        _asked("up"),
        _asked('up{service_name="tts"}'),
        _asked('up{service_name!~"$service"}'),
        _asked(f'up{{{_CHOSEN}}} / up{{job=~"$service"}}'),
    ),
    "target-instance-rule": (_asked(f"{OF_PROVIDERS}{{{_CHOSEN}}}"),),
    "target-counter-agg-rule": (
        _asked(f"sum({COUNTER}{{{_CHOSEN}}})"),
        _asked(f"max_over_time({COUNTER}{{{_CHOSEN}}}[$__rate_interval])"),
    ),
    "uneditable-dashboard": (lambda board: board.update(editable=True), lambda board: board.pop("editable")),
}
"""What breaks each rule."""


@pytest.mark.parametrize(("rule", "number"), [(rule, number) for rule, ways in BROKEN.items() for number in range(len(ways))])
def test_broken(rule: str, number: int) -> None:
    """Whatever breaks a rule is told, once."""
    board = copy.deepcopy(BOARDS["overview"])
    BROKEN[rule][number](board)
    assert len(faults(rule, board)) == 1


def test_all_rules_of_the_linter() -> None:
    """The linter has 17 rules, and each has an example of what it is against."""
    assert len(RULES) == 17
    assert BROKEN.keys() == RULES.keys()


@pytest.mark.parametrize(("rule", "title"), EXCLUDED)
def test_exclusions_are_needed(rule: str, title: str) -> None:
    """What is excluded from a rule would break it."""
    assert any(repr(title) in fault for board in BOARDS.values() for fault in RULES[rule](board))
