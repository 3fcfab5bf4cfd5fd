"""What people see at first sight is true: colours, axes, windows, units, legends, links, alerts and what is said where there is no data."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import promql_parser
import pytest

from otel_tts import semconv
from otel_tts.conditions import BY_NAME, CONDITIONS, Comparison, Condition, Objectives
from otel_tts.grafana import Home
from otel_tts.grafana.pages import PAGES, model
from otel_tts.grafana.places import PLACES
from otel_tts.grafana.thresholds import NEUTRAL, steps
from otel_tts.palette import BAD, GOOD, OUTCOMES, YELLOW
from otel_tts.promql import QUERIES, label
from tests.grafana.boards import BOARDS, JSON, asking, named, panels
from tests.grafana.linter import expression

Check = Callable[[JSON], Iterator[str]]


def _defaults(panel: JSON) -> JSON:
    defaults: JSON = panel["fieldConfig"]["defaults"]
    return defaults


def _kind(board: JSON, *kinds: str) -> Iterator[JSON]:
    return (panel for panel in asking(board) if panel["type"] in kinds)


def no_data_is_neutral(board: JSON) -> Iterator[str]:
    """No data says why, and has no verdict's colour."""
    for panel in asking(board):
        if not _defaults(panel).get("noValue"):
            yield f"{named(panel)} does not say why there is no data"
    for panel in _kind(board, "stat", "state-timeline"):
        special = [one["options"]["result"] for one in _defaults(panel)["mappings"] if one["type"] == "special"]
        if [result["color"] for result in special] != [NEUTRAL]:
            yield f"{named(panel)} colours no data"


def axes_fit(board: JSON) -> Iterator[str]:
    """A share is not squeezed between 0 and 100 %, and what is alone is drawn as a point."""
    for panel in _kind(board, "timeseries"):
        fields = _defaults(panel)
        if fields.get("min") == 0 and fields.get("max") == 1:
            yield f"{named(panel)} has an axis from 0 to 100 %"
        if fields["custom"]["showPoints"] != "auto":
            yield f"{named(panel)} hides points that stand alone"
        if fields["custom"]["fillOpacity"] and fields["custom"]["stacking"]["mode"] == "none":
            yield f"{named(panel)} fills lines that lie over each other"


def colours_stay(board: JSON) -> Iterator[str]:
    """A series has its colour by its name, whatever else is shown."""
    for panel in _kind(board, "timeseries"):
        if _defaults(panel).get("color") != {"mode": "palette-classic-by-name"}:
            yield f"{named(panel)} colours series by their order"


def windows_are_named(board: JSON) -> Iterator[str]:
    """A number says of what time it is, and one without the latest samples is none."""
    for panel in _kind(board, "stat"):
        (target,) = panel["targets"]
        if ("$window" in target["expr"]) != ("$window" in panel["title"]):
            yield f"{named(panel)} does not name its window"
        if ("$__range" in target["expr"]) != ("this time" in panel["title"]):
            yield f"{named(panel)} does not say that it is of all the time shown"
        if not target["instant"]:
            yield f"{named(panel)} may show an old number as the latest"
    for panel in _kind(board, "timeseries"):
        if any("$window" in target["expr"] for target in panel["targets"]) and "$window" not in panel["description"]:
            yield f"{named(panel)} does not name its window"


def shares_and_quantiles_have_a_wide_window(board: JSON) -> Iterator[str]:
    """One request in ten seconds moves no share from 0 to 100 %, and quantiles are of enough values."""
    for panel in _kind(board, "timeseries", "stat"):
        for target in panel["targets"]:
            wide = "histogram_quantile" in target["expr"] or panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
            if wide and "$__rate_interval" in target["expr"]:
                yield f"{named(panel)} takes a share or quantile over the length of a point"
            if "histogram_quantile" in target["expr"] and not re.search(r"increase\(.+?\) >= \d+\)", target["expr"]):
                yield f"{named(panel)} draws a quantile of one value"


def _has_growth(query: Any) -> bool:
    """Whether the values of a query are increases: not a share of two, and not a value that an increase only lets pass."""
    if isinstance(query, promql_parser.BinaryExpr):
        if str(query.op) in ("/", "and", "unless", ">=", ">", "<", "<="):
            return str(query.op) != "/" and _has_growth(query.lhs)
        return _has_growth(query.lhs) or _has_growth(query.rhs)
    if isinstance(query, promql_parser.Call):
        return query.func.name == "increase" or any(map(_has_growth, query.args))
    inner = getattr(query, "expr", None)
    return inner is not None and _has_growth(inner)


def sums_are_estimates(board: JSON) -> Iterator[str]:
    """What shows `increase()`, which extrapolates, says so; nothing else does."""
    for panel in _kind(board, "timeseries", "stat", "heatmap", "state-timeline"):
        shown = any(_has_growth(expression(target["expr"])) for target in panel["targets"])
        if shown != ("Prometheus extrapolates" in panel["description"]):
            yield f"{named(panel)} {'does not say' if shown else 'says'} that it is an estimate"


def units_name_what_is_counted(board: JSON) -> Iterator[str]:
    """Nothing is in c/s, percentages have two digits and counts none."""
    for panel in asking(board):
        unit, decimals = _defaults(panel)["unit"], _defaults(panel).get("decimals")
        if unit == "cps":
            yield f"{named(panel)} is in c/s"
        if panel["type"] in ("timeseries", "stat") and decimals != {"percentunit": 2, "short": 0}.get(unit):
            yield f"{named(panel)} has {decimals} decimals"


def legends_are_for_people(board: JSON) -> Iterator[str]:
    """No identifiers of instances, and nothing where a label is missing."""
    for panel in _kind(board, "timeseries"):
        if any(re.search(r"instance", target["legendFormat"]) for target in panel["targets"]):
            yield f"{named(panel)} has UUIDs in its legend"
        sentence = (
            renamed(panel, "_NONE · _NONE"),
            renamed(panel, "piper · _NONE"),
            renamed(panel, " · timeout"),
            renamed(panel, "a.v1.B/Get · OK"),
            renamed(panel, "none · none"),
            renamed(panel, "none to none"),
            renamed(panel, "piper to nonesuch"),
            renamed(panel, "_NONE · _NONE, at least 40"),
            renamed(panel, ", at least 40"),
            renamed(panel, "de · _NONE, at least 40"),
        )
        missing = unnamed(panel)
        limits = (f"{missing}, at least 40", f"{missing}, at least 40", "de, at least 40")
        if sentence != (missing, "piper", "timeout", "Get · OK", "none", "none", "piper to nonesuch", *limits):
            yield f"{named(panel)} says {sentence} of missing labels"


UNNAMED = {"tts_voice": "no voice named", "tts_language": "no language named", "gen_ai_provider_name": "no provider"}
"""By label, what is said where a request has none; "none" is said where nothing happened."""


def unnamed(panel: JSON) -> str:
    """What the panel says of a series without any label: that of the first of `UNNAMED` that is in its legend."""
    return next((text for name, text in UNNAMED.items() if name in panel["targets"][0]["legendFormat"]), "not named")


def money_says_per_what_time(board: JSON) -> Iterator[str]:
    """A rate of money is an amount in an hour, and an amount is one of all the time shown: the title says which."""
    for panel in _kind(board, "timeseries", "stat"):
        cost = [target["expr"] for target in panel["targets"] if re.search("tts_usage_cost|growth:.*cost", target["expr"])]
        an_hour = any(re.search(r"\brate\(", expression) for expression in cost)
        if (bool(cost) or _defaults(panel)["unit"] == "currencyUSD") and (
            ("per hour" in panel["title"]) is not an_hour or ("in this time" in panel["title"]) is an_hour
        ):
            yield f"{named(panel)} does not say of which time its dollars are"


CLOSED = {
    label(attribute): [str(value).lower() if isinstance(value, bool) else str(value) for value in attribute.values]
    for attribute in vars(semconv).values()
    if isinstance(attribute, semconv.Attribute) and attribute not in (semconv.ERROR_TYPE, semconv.ATTEMPT_REASON)
}
"""By label, the values that an attribute can have; what goes with a provider's name has the colour of both together."""


def names_that_are_known_have_colours(board: JSON) -> Iterator[str]:
    """Each name of a closed set has a colour of its own, whatever else is drawn: none is left to chance."""
    for panel in _kind(board, "timeseries"):
        legends = {target["legendFormat"].split(", at least")[0] for target in panel["targets"]}
        names = set(legends) if len(legends) > 1 and not any("{" in legend for legend in legends) else set()
        for legend in legends:
            labels = re.findall(r"\{\{(\w+)\}\}", legend)
            if labels and CLOSED.get(labels[-1]):
                for values in product(*(CLOSED.get(name) or ["x"] for name in labels)):
                    name = legend
                    for value in values:
                        name = re.sub(r"\{\{\w+\}\}", value, name, count=1)
                    names.add(name)
        colours = {name: series_colour(panel, renamed(panel, name)) for name in names}
        several = 4 if any(" · " in name and not name.startswith("x") for name in names) else 7  # of two sets not all go together
        if None in colours.values() or len(set(colours.values())) < min(len(names), several):
            yield f"{named(panel)} leaves colours to chance: {colours}"


def series_colour(panel: JSON, name: str) -> str | None:
    """The colour that a series has by its name."""
    for one in panel["fieldConfig"]["overrides"]:
        for field in one["properties"]:
            if field["id"] == "color" and re.search(one["matcher"]["options"].strip("/"), name):
                return str(field["value"]["fixedColor"])
    return None


def what_is_nothing_draws_nothing(board: JSON) -> Iterator[str]:
    """A kind that did not happen is no line around the others, on which it is stacked."""
    for panel in _kind(board, "timeseries"):
        custom = _defaults(panel)["custom"]
        if (custom["stacking"]["mode"] == "normal") is not (custom["lineWidth"] == 0):
            yield f"{named(panel)} has lines {custom['lineWidth']} wide"


def references_are_dashed(board: JSON) -> Iterator[str]:
    """What is compared with is told from what is measured, without its colour too."""
    for panel in _kind(board, "timeseries"):
        overrides = panel["fieldConfig"]["overrides"]
        dashed = [one["matcher"]["options"] for one in overrides if one["properties"][0]["id"] == "custom.lineStyle"]
        legends = [target["legendFormat"] for target in panel["targets"]]
        if any(re.match("reference |.*at least", legend) for legend in legends) and "/at least|^reference /" not in dashed:
            yield f"{named(panel)} has solid lines for what is no measured value"


def sentences_are_read_whole(board: JSON) -> Iterator[str]:
    """A column of sentences breaks its lines."""
    for panel in _kind(board, "table"):
        for one in panel["fieldConfig"]["overrides"]:
            properties = {field["id"]: field["value"] for field in one["properties"]}
            texts = [option["text"] for mapping in properties.get("mappings", ()) for option in mapping["options"].values()]
            if any(" " in text for text in texts) and not properties.get("custom.wrapText"):
                yield f"{named(panel)} cuts {one['matcher']['options']}"


def legends_fit(board: JSON) -> Iterator[str]:
    """Of many voices a chart draws those with the most requests in all the time shown, and says so; nobody scrolls in a legend."""
    for panel in _kind(board, "timeseries"):
        for target in panel["targets"]:
            many = "tts_voice" in target["legendFormat"]
            if many and ("topk(10, sum by (tts_voice)" not in target["expr"] or "@ end()" not in target["expr"]):
                yield f"{named(panel)} has a line for each voice"
            if many and "10 voices" not in panel["description"]:
                yield f"{named(panel)} does not say which voices it leaves out"


def renamed(panel: JSON, name: str) -> str:
    """A series' name after the panel's transformations, as Grafana makes them."""
    for one in panel.get("transformations", ()):
        regex, flags = re.fullmatch(r"/(.*)/(g?)", one["options"]["regex"]).groups()  # type: ignore[union-attr]
        name = re.sub(regex, one["options"]["renamePattern"], name, count=0 if flags else 1)
    return name


def links_keep_everything(board: JSON) -> Iterator[str]:
    """Links to other dashboards keep data sources, place, service, provider and time; a point's its own time and provider."""
    for panel in asking(board):
        for link in _defaults(panel).get("links", ()):
            url = link["url"]
            kept = all(f"${{{name}:queryparam}}" in url for name in ("datasource", "traces", *PLACES, "service"))
            own = "${__field.labels.gen_ai_provider_name}" in url
            every = all("gen_ai_provider_name" in target["legendFormat"] for target in panel["targets"])
            time = "time=${__value.time}&time.window=" if panel["type"] == "timeseries" else "${__url_time_range}"
            if not kept or time not in url or not (own or "${provider:queryparam}" in url) or (own and not every):
                yield f"{named(panel)} loses something: {url}"


def places_can_be_chosen(board: JSON) -> Iterator[str]:
    """Environment, cluster and namespace narrow each other and what is chosen after them; All is what has any value or none."""
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    matchers = [f'{place.label}=~"${name}"' for name, place in PLACES.items()]
    for number, name in enumerate(PLACES):
        variable = variables.get(name, {})
        if (variable.get("multi"), variable.get("allValue"), variable.get("current", {}).get("value")) != (
            True,
            ".*",
            ["$__all"],
        ):
            yield f"{name} cannot be chosen, or not all of it"
        elif not all(matcher in variable["query"]["query"] for matcher in matchers[:number]):
            yield f"{name} offers what was not chosen"
    for name in {"service", "provider"} & variables.keys():
        if not all(matcher in variables[name]["query"]["query"] for matcher in matchers):
            yield f"{name} offers what is elsewhere"


def queries_are_of_chosen_places(board: JSON) -> Iterator[str]:
    """All that is asked of services is narrowed to the chosen places, and alerts to those and to what is in none."""
    matchers = [f'{place.label}=~"${name}"' for name, place in PLACES.items()]
    targets = [target for panel in asking(board) for target in panel["targets"]]
    for target in (*targets, *(mark["target"] for mark in board["annotations"]["list"])):
        asked = target.get("expr", "")
        for matcher in matchers:
            if asked.count('service_name=~"$service"') != asked.count(matcher):
                yield f"{asked} is not narrowed by {matcher}"
            if 'alertname="TTSWatchdog"' not in asked and asked.count("ALERTS") != asked.count(f'{matcher[:-1]}|"'):
                yield f"{asked} has alerts of elsewhere, or none of what has no place"
        if target.get("queryType") == "traceql":
            for name, place in PLACES.items():
                if f'("${name}" = ".*" || resource.{place.attribute} =~ "${name}")' not in target["query"]:
                    yield f"{target['query']} is not narrowed by {name}"


def its_age_is_told(board: JSON) -> Iterator[str]:
    """The age of the newest telemetry stands in the first lines, and is bad from where the alert is."""
    ages = [panel for panel in _kind(board, "stat") if panel["title"] == "Newest telemetry, age"]
    if [panel["gridPos"]["y"] for panel in ages] != [0]:
        yield "it does not say how old its newest telemetry is"
    elif [step["value"] for step in _defaults(ages[0])["thresholds"]["steps"]] != [None, math.nextafter(120, math.inf)]:
        yield "the age is not judged as the alert does"


def room_is_for_data(board: JSON) -> Iterator[str]:
    """The first line has data and no heading, and no text takes room."""
    if board["panels"][0]["type"] == "row" or any(panel["type"] == "text" for panel in panels(board)):
        yield "a heading or a text takes the room of the first line"


def events_are_marked(board: JSON) -> Iterator[str]:
    """Deploys and alerts stand over all charts, the watchdog does not."""
    marks = {one["name"]: one["target"]["expr"] for one in board["annotations"]["list"] if one["enable"]}
    if "service_version" not in marks.get("Deploys", "") or 'alertname!="TTSWatchdog"' not in marks.get("Alerts", ""):
        yield f"marked are {sorted(marks)}"


def runbooks_open_from_anywhere(board: JSON) -> Iterator[str]:
    """Every link to a runbook is an absolute address."""
    text = json.dumps(board)
    links = re.findall(r"\S*runbooks\.md#", text)
    yield from (f"{link} is not absolute" for link in links if "https://" not in link)


def _first(board: JSON, kind: str) -> JSON:
    return next(_kind(board, kind))


def _titled(board: JSON, title: str) -> JSON:
    return next(panel for panel in asking(board) if panel["title"] == title)


def _say(kind: str, **fields: Any) -> Callable[[JSON], None]:
    return lambda board: _defaults(_first(board, kind)).update(fields)


def _lose(board: JSON, part: str) -> None:
    panel = next(panel for panel in asking(board) if _defaults(panel).get("links"))
    for link in _defaults(panel)["links"]:
        link["url"] = link["url"].replace(part, "")


CHECKS: Mapping[Check, tuple[Callable[[JSON], Any], ...]] = {
    no_data_is_neutral: (_say("timeseries", noValue=""), _say("stat", mappings=[])),
    axes_fit: (
        _say("timeseries", min=0, max=1),
        lambda board: _defaults(_first(board, "timeseries"))["custom"].update(showPoints="never"),
        lambda board: _defaults(_first(board, "timeseries"))["custom"].update(fillOpacity=8, stacking={"mode": "none"}),
    ),
    colours_stay: (_say("timeseries", color={"mode": "palette-classic"}),),
    windows_are_named: (
        lambda board: _first(board, "stat")["targets"][0].update(expr="rate(x[$window])"),
        lambda board: _first(board, "stat")["targets"][0].update(expr="rate(x[$__range])"),
        lambda board: _first(board, "stat")["targets"][0].update(instant=False),
        lambda board: _first(board, "timeseries")["targets"][0].update(expr="rate(x[$window])"),
    ),
    shares_and_quantiles_have_a_wide_window: (
        lambda board: _first(board, "timeseries")["targets"][0].update(expr="histogram_quantile(0.5, rate(x[5m]))"),
    ),
    sums_are_estimates: (
        lambda board: _first(board, "stat").update(description="It is an estimate: Prometheus extrapolates."),
        lambda board: _first(board, "stat")["targets"][0].update(expr="sum(increase(x[$__range])) or vector(0)"),
    ),
    units_name_what_is_counted: (_say("timeseries", unit="cps"), _say("timeseries", unit="percentunit")),
    legends_are_for_people: (
        lambda board: _first(board, "timeseries")["targets"][0].update(legendFormat="{{instance}}"),
        lambda board: _first(board, "timeseries").pop("transformations"),
        lambda board: _titled(board, "Requests by language and voice")["transformations"][1]["options"].update(
            renamePattern="none"
        ),
    ),
    money_says_per_what_time: (
        lambda board: _first(board, "timeseries")["targets"][0].update(expr="3600 * rate(tts_usage_cost_total[5m])"),
        lambda board: (
            _first(board, "timeseries").update(title="Cost in this time")
            or _first(board, "timeseries")["targets"][0].update(expr="3600 * rate(tts_usage_cost_total[5m])")
        ),
        _say("stat", unit="currencyUSD"),
    ),
    names_that_are_known_have_colours: (
        lambda board: _titled(board, "gRPC calls by status")["fieldConfig"].update(overrides=[]),
        lambda board: _titled(board, "Error budget burn rate")["fieldConfig"].update(overrides=[]),
        lambda board: _titled(board, "Active requests")["fieldConfig"]["overrides"].pop(),
    ),
    what_is_nothing_draws_nothing: (
        lambda board: _defaults(_titled(board, "Requests by outcome"))["custom"].update(lineWidth=1),
        lambda board: _defaults(_titled(board, "Success rate"))["custom"].update(lineWidth=0),
    ),
    references_are_dashed: (
        lambda board: _titled(board, "First audio against its reference")["fieldConfig"].update(overrides=[]),
        lambda board: _titled(board, "Time to first audio")["fieldConfig"]["overrides"].pop(),
    ),
    sentences_are_read_whole: (
        lambda board: _titled(board, "Alerts firing")["fieldConfig"]["overrides"][0].update(
            properties=_titled(board, "Alerts firing")["fieldConfig"]["overrides"][0]["properties"][:1]
        ),
    ),
    legends_fit: (
        lambda board: (
            _first(board, "timeseries")["targets"][0].update(
                legendFormat="{{tts_voice}}", expr="sum by (tts_voice) (rate(x[5m]))"
            )
            or _first(board, "timeseries").update(description="10 voices")
        ),
        lambda board: next(p for p in _kind(board, "timeseries") if "voice" in p["title"]).update(description="All."),
    ),
    links_keep_everything: (
        _say("timeseries", links=[{"url": "/d/otel-tts-requests?${__url_time_range}&${service:queryparam}"}]),
        lambda board: _lose(board, "&${cluster:queryparam}"),
    ),
    queries_are_of_chosen_places: (
        lambda board: _first(board, "timeseries")["targets"][0].update(
            expr='x{service_name=~"$service", deployment_environment_name=~"$environment", service_namespace=~"$namespace"}'
        ),
        lambda board: board["annotations"]["list"][0]["target"].update(
            expr='ALERTS{deployment_environment_name=~"$environment|", service_namespace=~"$namespace|"}'
        ),
        lambda board: _first(board, "table")["targets"].append(
            {
                "queryType": "traceql",
                "query": '{ ("$cluster" = ".*" || resource.k8s.cluster.name =~ "$cluster") && '
                '("$environment" = ".*" || resource.deployment.environment.name =~ "$environment") }',
            }
        ),
    ),
    places_can_be_chosen: (
        lambda board: board["templating"]["list"].pop(3),
        lambda board: board["templating"]["list"][3].update(allValue=".+"),
        lambda board: board["templating"]["list"][3]["query"].update(query="label_values(x, k8s_cluster_name)"),
        lambda board: board["templating"]["list"][5]["query"].update(query="label_values(x, service_name)"),
    ),
    its_age_is_told: (
        lambda board: next(p for p in _kind(board, "stat") if "age" in p["title"]).update(title="Age"),
        lambda board: _defaults(next(p for p in _kind(board, "stat") if "age" in p["title"]))["thresholds"].update(steps=[]),
    ),
    room_is_for_data: (lambda board: board["panels"].insert(0, {"type": "row"}),),
    events_are_marked: (lambda board: board["annotations"]["list"].pop(),),
    runbooks_open_from_anywhere: (lambda board: _first(board, "stat").update(description="docs/runbooks.md#x"),),
}
"""What holds of every dashboard, each with what breaks it."""


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_holds(check: Check, board: str) -> None:
    """Of every panel on every dashboard."""
    assert list(check(BOARDS[board])) == []


@pytest.mark.parametrize(("check", "break_it"), [(check, way) for check, ways in CHECKS.items() for way in ways])
def test_what_does_not_hold_is_told(check: Check, break_it: Callable[[JSON], Any]) -> None:
    """Each of these is found, and nothing else."""
    board = copy.deepcopy(BOARDS["overview"])
    break_it(board)
    assert len(list(check(board))) == 1


def colour(listed: list[JSON], value: float) -> str:
    """A value's colour: that of the last step that begins at it or below, as Grafana decides."""
    return str([step["color"] for step in listed if step["value"] is None or value >= step["value"]][-1])


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_a_value_has_the_colour_of_its_verdict(condition: Condition) -> None:
    """At the threshold, just below it and just above it, it is as bad as the condition says."""
    listed = [step.to_json_data() for step in steps(condition)]
    plenty = 1e9 if condition.figure.traffic else None
    for value in (math.nextafter(condition.threshold, to) for to in (-math.inf, condition.threshold, math.inf)):
        assert colour(listed, value) == (BAD if condition.holds(value, plenty) else GOOD)


@pytest.mark.parametrize("board", BOARDS)
def test_thresholds_are_those_of_the_named_alert(board: str) -> None:
    """Where a panel names an alert, bad begins exactly where the alert does."""
    for panel in asking(BOARDS[board]):
        for name in re.findall(r"alert \[(\w+)\]", panel["description"]):
            condition, listed = BY_NAME[name], _defaults(panel)["thresholds"]["steps"]
            for value in (math.nextafter(condition.threshold, to) for to in (-math.inf, condition.threshold, math.inf)):
                beyond = value > condition.threshold if condition.comparison is Comparison.ABOVE else value < condition.threshold
                assert (colour(listed, value) == BAD) == beyond, named(panel)


@pytest.mark.parametrize("objective", [0.9, 0.95, 0.99, 0.999])
def test_objective_and_budget_agree(objective: float) -> None:
    """The success rate is green exactly where the budget beside it is, at, just below and just above the objective."""
    board = model("overview", Home(objectives=Objectives(success=objective)))
    rate, budget = (
        _defaults(next(p for p in asking(board) if p["title"] == f"{title} in this time"))["thresholds"]["steps"]
        for title in ("Success rate", "Error budget left")
    )
    for success in (math.nextafter(objective, 0), objective, math.nextafter(objective, 1), 0.5, 1.0):
        assert (colour(rate, success) == GOOD) == (colour(budget, (success - objective) / (1 - objective)) == GOOD)
    now = _defaults(next(p for p in asking(board) if p["title"] == "Success rate, last $window"))["thresholds"]["steps"]
    assert [colour(now, value) for value in (0.94, 0.951, 1.0)] == [BAD, YELLOW if objective > 0.951 else GOOD, GOOD]


def test_quantiles_come_with_their_limits() -> None:
    """Whatever draws a quantile also draws where it is only known to be at least the last bucket's bound, and says so."""
    limits = {f"at least {query.bound:g}" for name, query in QUERIES.items() if name.endswith("_limit") and query.bound}
    for board in BOARDS.values():
        for panel in _kind(board, "timeseries"):
            quantiles = [target for target in panel["targets"] if "histogram_quantile" in target["expr"]]
            beyond = [target for target in panel["targets"] if "at least" in target["legendFormat"]]
            if "Loudness" not in panel["title"]:
                assert len(quantiles) == len(beyond), named(panel)
            assert {re.search(r"at least .*", target["legendFormat"])[0] for target in beyond} <= limits  # type: ignore[index]


def test_every_rate_of_money_is_per_hour() -> None:
    """Each query in dollars an hour is drawn somewhere, and its panels say "per hour"."""
    scoped = {name: query for name, query in QUERIES.items() if query.unit == "{USD}/h"}
    titles = {panel["title"] for board in BOARDS.values() for panel in asking(board) if "per hour" in panel["title"]}
    assert len(titles) == len(scoped) == 2
    assert not [name for name in scoped if "an hour" not in scoped[name].description]


def test_outcomes_have_colours_of_their_own() -> None:
    """No two outcomes look alike."""
    assert len(set(OUTCOMES.values())) == len(OUTCOMES)


def test_alerts_are_a_table_with_their_runbooks() -> None:
    """Each alert that Prometheus judges has its meaning and the anchor of its runbook; alerting itself is judged beside."""
    (table,) = (panel for panel in _kind(BOARDS["overview"], "table") if panel["title"] == "Alerts firing")
    properties = {
        one["matcher"]["options"]: {p["id"]: p["value"] for p in one["properties"]} for one in table["fieldConfig"]["overrides"]
    }
    names = {condition.name for condition in CONDITIONS if condition.query}
    anchors = {name: text["text"] for name, text in properties["Runbook"]["mappings"][0]["options"].items()}
    assert anchors == {name: name.lower() for name in names}
    assert properties["Runbook"]["links"][0]["url"].endswith("runbooks.md#${__value.text}")
    assert properties["Meaning"]["mappings"][0]["options"].keys() == names
    assert columns(table)[:5] == ["Severity", "Alert", "Provider", "Since", "Meaning"]
    (watchdog,) = (panel for panel in _kind(BOARDS["overview"], "stat") if panel["title"] == "Alerting")
    words = {v: (o["text"], o["color"]) for m in _defaults(watchdog)["mappings"][1:] for v, o in m["options"].items()}
    assert words == {"0": ("broken", BAD), "1": ("works", GOOD)}


def columns(table: JSON) -> list[str]:
    """The headings of a table, in their order: on a telephone the first are all that is seen."""
    (organized,) = (one["options"] for one in table["transformations"] if one["id"] == "organize")
    order = sorted(organized["indexByName"], key=organized["indexByName"].__getitem__)
    return [organized["renameByName"][name] for name in order]


def test_requests_say_what_they_are_without_a_click() -> None:
    """Tempo's tables have columns; each says how many are shown and in which order."""
    tables = [panel for panel in _kind(BOARDS["requests"], "table") if panel["title"] != "Alerts firing"]
    assert len(tables) == 6
    for table in tables:
        assert (
            "narrowed to the chosen environment, cluster, namespace and provider; those of Jaeger are not" in table["description"]
        )
        _, tempo = table["targets"]
        assert tempo["tableType"] == "spans"
        assert all(f"span.{key}" in tempo["query"] for key in ("tts.outcome", "error.type", "gen_ai.provider.name", "tts.voice"))
        shown = {"tts.outcome": "Outcome", "error.type": "Error", "gen_ai.provider.name": "Provider", "tts.voice": "Voice"}
        assert columns(table) == ["Duration", *shown.values(), "Start time", "Trace ID", "Span ID"]
        assert shown.items() <= table["transformations"][0]["options"]["renameByName"].items()
        assert re.search(rf": (slowest first of )?the newest {tempo['limit']}( at most)?$", table["title"])


def test_what_few_use_is_collapsed() -> None:
    """It is there, and hidden until somebody opens it."""
    hidden = {row["title"] for board in BOARDS.values() for row in board["panels"] if row["type"] == "row" and row["collapsed"]}
    assert {"Connections", "Prefetch, batch and GenAI conventions", "Scores of your own quality model", "Cost"} <= hidden
    assert all(
        bool(row["panels"]) == row["collapsed"] for board in BOARDS.values() for row in board["panels"] if row["type"] == "row"
    )


def test_runbooks_are_where_the_settings_say() -> None:
    """Dashboards link to another address when there is one."""
    text = json.dumps([model(name, Home(runbooks="https://wiki.example.org/tts")) for name in PAGES])
    assert "https://wiki.example.org/tts#ttsrequestsfailing" in text
    assert "runbooks.md" not in text
