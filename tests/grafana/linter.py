"""The rules of Grafana's dashboard-linter (https://github.com/grafana/dashboard-linter), as they hold for OpenTelemetry's metrics.

Each has the linter's name. They are stricter than the linter where it passes over kinds of panels that it does not know. They differ where
it expects what Prometheus's own scraping gives:

- For ``job`` stands the variable ``service``, matched against ``service_name``: what a service is called is the same label on every way
  into Prometheus, while ``job`` depends on how metrics are collected.
- For ``instance`` stands the second variable of a dashboard, ``provider`` or ``collector``: figures are about all replicas of a service,
  which come and go, and who looks for the one at fault asks first whose speech it is.
- Data source variables are named by what they give, ``datasource`` (metrics) and ``traces``: the linter's names say which product it is.
  The one for traces offers two products, which Grafana's own kind of variable cannot.
- ``rate`` may also span ``$window``, which people choose and which grows with the time that is shown: shares and quantiles of few
  requests are nothing over the length of a point.
- ``rate`` may also span ``$__range`` in an instant query, which tells one number of all the time that is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import promql_parser

from otel_tts import semconv
from otel_tts.promql import bucket_series, count_series, label, series, sum_series
from otel_tts.semconv import DRIFT_DETECTED, DRIFT_SCORE, PROVIDER, REFERENCE_LATENCY, Instrument
from tests.grafana.boards import JSON, asking, named

SOURCES = {"datasource": "prometheus", "traces": "Jaeger : jaeger, Tempo : tempo"}
SPANS = {"$__rate_interval": timedelta(seconds=61), "$__range": timedelta(seconds=67), "$window": timedelta(seconds=71)}
"""For each of Grafana's own variables a span that nobody writes, by which it is known in what was parsed."""
OF_NO_SERVICE = {"ALERTS", "ALERTS_FOR_STATE", *map(series, (DRIFT_DETECTED, DRIFT_SCORE, REFERENCE_LATENCY))}
"""Series that are not the chosen service's own: alerts are also about the pipeline, and the batch job is a service itself."""
EXCLUDED: Mapping[tuple[str, str], str] = {
    ("target-instance-rule", "Error budget burn rate"): "an objective is the service's, whoever speaks",
    ("target-instance-rule", "Newest telemetry, age"): "telemetry is the service's, whoever speaks",
    ("target-counter-agg-rule", "Share refused"): "it is what the alert judges, which counts a new series from 0",
}
"""Panels that a rule is not for, by their titles, and why."""
Check = Callable[[JSON], Iterator[str]]
RULES: dict[str, Check] = {}


def rule(name: str) -> Callable[[Check], Check]:
    """Register a check under the linter's name for it."""

    def register(check: Check) -> Check:
        RULES[name] = check
        return check

    return register


def faults(rule: str, board: JSON) -> list[str]:
    """What is against a rule in a dashboard, but what is excluded."""
    excluded = [repr(title) for name, title in EXCLUDED if name == rule]
    return [fault for fault in RULES[rule](board) if not any(title in fault for title in excluded)]


def variables(board: JSON, kind: str) -> Mapping[str, JSON]:
    """A dashboard's variables of a kind, by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"] if variable["type"] == kind}


def targets(board: JSON, source: str = "prometheus") -> Iterator[tuple[str, JSON]]:
    """The queries to a kind of data source, each with what to call it."""
    for panel in asking(board):
        for target in panel.get("targets", ()):
            if target.get("datasource", {}).get("type") == source:
                yield f"{named(panel)} {target['refId']}", target


def expression(text: str) -> Any:
    """PromQL as Grafana would send it, parsed. Raises ValueError when it is none."""
    for variable, span in SPANS.items():
        text = text.replace(variable, f"{span.seconds}s")
    return promql_parser.parse(text)


def nodes(text: str) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Everything in an expression, each with what it stands in, the innermost last; nothing of what is no PromQL."""
    panels: list[tuple[Any, Sequence[Any]]] = []
    around: list[Any] = []

    def enter(node: Any) -> None:
        panels.append((node, tuple(around)))
        around.append(node)

    def leave(_: Any) -> None:
        around.pop()

    try:
        promql_parser.walk(expression(text), enter, leave)
    except ValueError:
        return iter(())  # another rule tells it
    return iter(panels)


def selectors(board: JSON) -> Iterator[tuple[str, Any, Mapping[str, tuple[Any, str]]]]:
    """Every selector of series, with its matchers by label."""
    for where, target in targets(board):
        for node, _ in nodes(target["expr"]):
            if isinstance(node, promql_parser.VectorSelector):
                yield where, node, {one.name: (one.op, one.value) for one in node.matchers.matchers}


@rule("template-datasource-rule")
def one_choice_of_each_data_source(board: JSON) -> Iterator[str]:
    """People choose where metrics and traces come from."""
    panels = {name: variable["query"] for kind in ("datasource", "custom") for name, variable in variables(board, kind).items()}
    if panels != SOURCES:
        yield f"data source variables are {panels}, and not {SOURCES}"


@rule("template-job-rule")
def a_choice_of_services(board: JSON) -> Iterator[str]:
    """People choose services; one at a time where traces are searched for, since Jaeger searches within one."""
    searching = any(target.get("queryType") == "search" for panel in asking(board) for target in panel["targets"])
    yield from _choice(board, "service", "" if searching else ".+")


@rule("template-instance-rule")
def a_choice_within_the_service(board: JSON) -> Iterator[str]:
    """People choose providers, or Collectors. A request for which no provider was asked has no such label: it belongs to all."""
    if "collector" in variables(board, "query"):
        yield from _choice(board, "collector", ".+")
    else:
        yield from _choice(board, "provider", ".*")


def _choice(board: JSON, name: str, every: str) -> Iterator[str]:
    variable = variables(board, "query").get(name)
    if variable is None:
        yield f"there is no query variable {name}"
        return
    wanted = {
        "label": name.capitalize(), "multi": bool(every), "includeAll": bool(every), "allValue": every or None,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    }  # fmt: skip
    for key, value in wanted.items():
        if variable.get(key) != value:
            yield f"the variable {name} has {key} {variable.get(key)!r}, and not {value!r}"


@rule("template-label-promql-rule")
def variables_ask_for_values(board: JSON) -> Iterator[str]:
    """What a query variable asks for parses."""
    for name, variable in variables(board, "query").items():
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        try:
            if asked is None or not isinstance(expression(asked[1]), promql_parser.VectorSelector):
                yield f"the variable {name} does not ask for the values of a label"
        except ValueError as error:
            yield f"the variable {name} is no PromQL: {error}"


@rule("template-on-time-change-reload-rule")
def variables_follow_the_time(board: JSON) -> Iterator[str]:
    """Choices are those of the time that is shown."""
    for name, variable in variables(board, "query").items():
        if variable.get("refresh") != 2:
            yield f"the variable {name} is not refreshed when the time changes"


@rule("panel-datasource-rule")
def panels_ask_the_chosen_source(board: JSON) -> Iterator[str]:
    """No panel, and no query in it, goes past the choice of data sources."""
    traces = {"uid": "${traces}"}
    allowed = [{"type": "prometheus", "uid": "${datasource}"}, traces, {"type": "jaeger", **traces}, {"type": "tempo", **traces}]
    for panel in asking(board):
        for source in (panel.get("datasource"), *(target.get("datasource") for target in panel.get("targets", ()))):
            if source not in allowed:
                yield f"{named(panel)} asks {source}"


@rule("panel-title-description-rule")
def panels_say_what_they_show(board: JSON) -> Iterator[str]:
    """Each has a title and a description, and that says what to do when it looks bad."""
    for panel in asking(board):
        if not panel.get("title"):
            yield f"{named(panel)} has no title"
        if not re.search(r"\S\s+\*\*What to check:\*\* \S", panel.get("description", "")):
            yield f"{named(panel)} does not say what it shows and what to do when it looks bad"


@rule("panel-units-rule")
def panels_have_units(board: JSON) -> Iterator[str]:
    """Each has a unit; that there is such a unit, `test_schema` holds."""
    for panel in asking(board):
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            yield f"{named(panel)} has no unit"


@rule("panel-no-targets-rule")
def panels_ask(board: JSON) -> Iterator[str]:
    """Each asks something."""
    return (f"{named(panel)} asks nothing" for panel in asking(board) if not panel.get("targets"))


@rule("target-logql-rule")
def no_logs_are_asked_for(board: JSON) -> Iterator[str]:
    """LogQL parses: there is none, since a log line's home is its trace."""
    return (f"{where} asks Loki" for where, _ in targets(board, "loki"))


@rule("target-logql-auto-rule")
def no_span_of_logs(board: JSON) -> Iterator[str]:
    """LogQL spans ``$__auto``, wherever it is asked."""
    for where, target in targets(board, "loki"):
        if re.search(r"\[(?!\$__auto])", target.get("expr", "")):
            yield f"{where} spans something else than $__auto"


@rule("target-promql-rule")
def queries_parse(board: JSON) -> Iterator[str]:
    """PromQL parses, and its types fit."""
    for where, target in targets(board):
        try:
            expression(target["expr"])
        except ValueError as error:
            yield f"{where} is no PromQL: {error}"


@rule("target-rate-interval-rule")
def rates_span_what_grafana_says(board: JSON) -> Iterator[str]:
    """A rate over a fixed time is empty or blurred as soon as somebody zooms."""
    for where, target in targets(board):
        allowed = {SPANS["$__rate_interval"], SPANS["$window"], *((SPANS["$__range"],) if target.get("instant") else ())}
        for node, around in nodes(target["expr"]):
            if (
                isinstance(node, promql_parser.MatrixSelector)
                and _calls(around[-1], "rate", "irate")
                and node.range not in allowed
            ):
                yield f"{where} has a {around[-1].func.name} over {node.range}"


@rule("target-job-rule")
def series_are_of_the_chosen_service(board: JSON) -> Iterator[str]:
    """Every selector is narrowed to the chosen services, or to the chosen Collectors."""
    for where, selector, matchers in selectors(board):
        chosen = [
            (promql_parser.MatchOp.Re, f"${name}") for name in ("service", "collector") if name in variables(board, "query")
        ]
        if selector.name not in OF_NO_SERVICE and matchers.get("service_name") not in chosen:
            yield f"{where} is not narrowed to a service: {selector.prettify()}"


@rule("target-instance-rule")
def series_are_of_the_chosen_provider(board: JSON) -> Iterator[str]:
    """Where people choose providers, every selector of series that have one is narrowed to these."""
    if "provider" not in variables(board, "query"):
        return
    for where, selector, matchers in selectors(board):
        if selector.name in _OF_PROVIDERS and matchers.get(label(PROVIDER)) != (promql_parser.MatchOp.Re, "$provider"):
            yield f"{where} is not narrowed to a provider: {selector.prettify()}"


@rule("target-counter-agg-rule")
def counters_are_rates(board: JSON) -> Iterator[str]:
    """A counter's value says since when a process runs, and nothing else."""
    for where, target in targets(board):
        for node, around in nodes(target["expr"]):
            counter = isinstance(node, promql_parser.VectorSelector) and (node.name or "").endswith("_total")
            if counter and not (len(around) > 1 and _calls(around[-2], "rate", "irate", "increase")):
                yield f"{where} has the counter {node.name} outside of rate, irate and increase"


@rule("uneditable-dashboard")
def nobody_edits_it(board: JSON) -> Iterator[str]:
    """What is changed in the browser would be lost."""
    if board.get("editable") is not False:
        yield "it can be edited"


def _calls(node: Any, *functions: str) -> bool:
    return isinstance(node, promql_parser.Call) and node.func.name in functions


def _names(metric: semconv.Metric) -> Iterator[str]:
    if metric.instrument is Instrument.HISTOGRAM:
        yield from (bucket_series(metric), count_series(metric), sum_series(metric))
    else:
        yield series(metric)


_OF_PROVIDERS = {name for metric in semconv.METRICS if PROVIDER in metric.attributes for name in _names(metric)}
