"""Queries mean what their names say: as Prometheus's own engine evaluates them, and as the parsers of both languages read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from otel_tts.conditions import Objectives
from otel_tts.promql import QUERIES, Scope, bucket_series, count_series, label, series, sum_series
from otel_tts.promql.readings import PLACE
from otel_tts.promql.slo import REFERENCE, REFERENCE_WINDOW, judged_first_audio_reference, recorded
from otel_tts.semconv import (
    ATTEMPT_DURATION,
    ATTEMPT_REASON,
    CACHE_RESULT,
    DRIFT_COLUMN,
    DRIFT_DETECTED,
    DRIFT_SCORE,
    ERROR_TYPE,
    FALLBACK_FROM,
    FALLBACK_TO,
    METRICS,
    OUTCOME,
    PROVIDER,
    PROVIDER_AVAILABLE,
    QUALITY_SCORE,
    REFERENCE_LATENCY,
    STREAM,
    STREAM_UNDERRUN,
    SYNTHESIS_DURATION,
    SYNTHESIS_FIRST_AUDIO,
    SYNTHESIS_REQUESTS,
    SYNTHESIS_SPAN,
    UNDERRUN_CAUSE,
    USAGE_COST,
    VOICE,
    Attribute,
    Instrument,
    Metric,
)
from otel_tts.settings.selection import SELECTABLE
from tests.e2e.stack import program
from tests.grafana.boards import BOARDS, asking

SERVICE = 'service_name="speech"'
PLACED = {"deployment_environment_name": ".*", "k8s_cluster_name": ".*", "service_namespace": ".*"}
SCOPE = Scope(matchers=(SERVICE,), places=PLACED, narrowed={PROVIDER: ".*"})
"""What a dashboard asks about."""


# --- what they say -----------------------------------------------------------------------------------------------------------

RESOURCE = {"service_name", "service_instance_id", "service_version", "job", "instance", *PLACE}
FOREIGN = re.compile(r"otelcol_(exporter|receiver|process)_\w+|otel_sdk_\w+|ALERTS(_FOR_STATE)?|service\w*:tts_\w+:\w+|")
"""Series that are not of the registry: the Collector's, the SDK's, Prometheus's own, and what rules record. Empty: all of a service."""
EVERYWHERE = {"ALERTS", "ALERTS_FOR_STATE", *map(series, (DRIFT_DETECTED, DRIFT_SCORE, REFERENCE_LATENCY))}
"""What is not of one service: alerts, and what the batch job publishes."""


def labels_of() -> dict[str, set[str]]:
    """The series of the registry, and the labels of each."""
    by_series: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = {label(attribute) for attribute in metric.attributes} | RESOURCE
        if metric.instrument is Instrument.HISTOGRAM:
            by_series |= {count_series(metric): labels, sum_series(metric): labels, bucket_series(metric): labels | {"le"}}
        else:
            by_series[series(metric)] = labels
    return by_series


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """All selectors in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, list):
        for each in node:
            yield from selectors(each)
    else:
        for part in ("expr", "lhs", "rhs", "args", "vector_selector"):
            if (inner := getattr(node, part, None)) is not None:
                yield from selectors(inner)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_what_the_registry_has(name: str) -> None:
    """It parses, its types fit, each of its series and labels exists, and it is narrowed to the scope."""
    scope = replace(SCOPE, by=("service_name",)) if name.startswith("judged_") else SCOPE  # as rules ask
    asked = [*selectors(promql_parser.parse(QUERIES[name](scope)))]
    for selector in asked:
        matchers = selector.matchers.matchers
        if selector.name in labels_of():
            assert {matcher.name for matcher in matchers} <= labels_of()[selector.name]
        else:
            assert FOREIGN.fullmatch(selector.name or ""), selector.name
        if selector.name not in EVERYWHERE:
            assert SERVICE in map(str, matchers), selector.name
            assert PLACED.keys() <= {matcher.name for matcher in matchers}, selector.name
    assert asked or name == "judged_watchdog"


def test_dashboards_ask_by_name() -> None:
    """Every query on a dashboard is one of the registered ones, and every one that no condition judges is on a dashboard."""
    shown = {
        target["expr"] for board in BOARDS.values() for panel in asking(board) for target in panel["targets"] if "expr" in target
    } | {annotation["target"]["expr"] for board in BOARDS.values() for annotation in board["annotations"]["list"]}
    chosen = {label: f"${name}" for name, label in zip(("environment", "cluster", "namespace"), PLACED, strict=True)}
    scopes = [
        Scope(matchers=(f'service_name=~"${name}"',), places=places, window=window, narrowed=narrowed, ranked_over="$__range")
        for name, places, narrowed in (("service", chosen, {PROVIDER: "$provider"}), ("collector", {}, {}))
        for window in ("$__rate_interval", "$__range", "$window", "1h", "6h")
    ]
    written = {ask(scope): name for scope in scopes for name, ask in QUERIES.items()}
    assert shown - written.keys() == set()
    used = {written[expression] for expression in shown}
    spare = {name for name in QUERIES if not name.startswith("judged_")} - used
    assert {name for name in spare if not re.search(r"_p\d\d(_limit)?$", name)} == set()


@pytest.mark.parametrize("name", BOARDS)
def test_what_a_query_refers_to_can_be_chosen(name: str) -> None:
    """Each variable in a dashboard's queries stands at its top, or is Grafana's own."""
    chosen = {variable["name"] for variable in BOARDS[name]["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([panel["targets"] for panel in asking(BOARDS[name])])))
    chained = {"environment", "cluster", "namespace"}  # which choose among each other, and services
    assert used <= chosen
    assert chosen <= used | {"traces"} | chained


# --- what they mean ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Telemetry, and the answer to a query at its end. given: per minute what a counter gains, or a gauge's values; answer: by labels."""

    query: str
    given: Mapping[str, float | str]
    answer: Mapping[str, float]
    minutes: int = 10
    window: str = "5m"
    places: Mapping[str, str] = field(default_factory=lambda: PLACED)
    objectives: Objectives = field(default_factory=Objectives)


def series_text(name: str, instance: str = "a", /, **labels: str) -> str:
    """A series of the service."""
    matchers = (f'{key}="{value}"' for key, value in {"instance": instance, **labels}.items())
    return f"{name}{{{', '.join((SERVICE, *matchers))}}}"


def counted(metric: Metric, attribute: Attribute, values: Mapping[str, float], **labels: str) -> dict[str, float | str]:
    """A histogram's counts, by the values of an attribute."""
    return {series_text(count_series(metric), **{label(attribute): value}, **labels): gain for value, gain in values.items()}


def attempts(provider: str, outcome: str, reason: str) -> str:
    """Attempts at a provider."""
    labels = {label(PROVIDER): provider, label(OUTCOME): outcome, label(ATTEMPT_REASON): reason}
    return series_text(count_series(ATTEMPT_DURATION), **labels)


def available(provider: str, instance: str) -> str:
    """Whether a replica can use a provider."""
    return series_text(series(PROVIDER_AVAILABLE), instance, **{label(PROVIDER): provider})


def first_audio(le: str, outcome: str, instance: str = "a") -> str:
    """A bucket of streams."""
    return series_text(bucket_series(SYNTHESIS_FIRST_AUDIO), instance, le=le, **{label(OUTCOME): outcome})


def first_audio_count(outcome: str, instance: str = "a") -> str:
    """Streams that were heard."""
    return series_text(count_series(SYNTHESIS_FIRST_AUDIO), instance, **{label(OUTCOME): outcome})


def streams(outcome: str) -> str:
    """Streams that ended."""
    return series_text(count_series(SYNTHESIS_DURATION), **{label(STREAM): "true", label(OUTCOME): outcome})


def drift(instance: str) -> str:
    """What a run of the batch job tells."""
    return f'{series(DRIFT_SCORE)}{{instance="{instance}", {label(PROVIDER)}="piper", {label(DRIFT_COLUMN)}="latency"}}'


def published(stream: str) -> str:
    """A reference that the batch job told."""
    return f'{series(REFERENCE_LATENCY)}{{{label(PROVIDER)}="piper", {label(STREAM)}="{stream}"}}'


def reference(source: str, provider: str = "all") -> str:
    """One, and where it comes from."""
    return f'{{{label(PROVIDER)}="{provider}", {REFERENCE}="{source}"}}'


JUDGED = recorded(judged_first_audio_reference, REFERENCE_WINDOW)
"""What the rules compare first audio with."""


def underrun(name: str, **labels: str) -> str:
    """Gaps that providers left in streams."""
    return series_text(name, **{label(UNDERRUN_CAUSE): "provider"}, **labels)


ALL_OUTCOMES = {"ok": 60, "error": 10, "deadline": 10, "partial": 10, "empty": 10, "cancelled": 300, "rejected": 300}
PIPER, OPENAI = (f'{{{label(PROVIDER)}="{name}"}}' for name in ("piper", "openai"))
CASES: Mapping[str, Case] = {
    "success is ok of ok, deadline, partial, empty and error": Case(
        "success_rate", counted(SYNTHESIS_DURATION, OUTCOME, ALL_OUTCOMES), {"{}": 0.6}
    ),
    "nothing but callers' own faults is no data": Case(
        "success_rate", counted(SYNTHESIS_DURATION, OUTCOME, {"cancelled": 60, "rejected": 60}), {}
    ),
    "no success is 0": Case("success_rate", counted(SYNTHESIS_DURATION, OUTCOME, {"error": 60}), {"{}": 0}),
    "no traffic is no data": Case("success_rate", counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 0, "error": 0}), {}),
    "half of the failures allowed leave half of the budget": Case(
        "success_budget_left", counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 995, "error": 5}), {"{}": 0.5}
    ),
    "probes, cancelled and rejected attempts say nothing of a provider": Case(
        "provider_success_rate",
        {
            attempts("openai", "error", "initial"): 60,
            attempts("openai", "ok", "retry"): 20,
            attempts("openai", "ok", "probe"): 600,
            attempts("openai", "cancelled", "initial"): 60,
            attempts("openai", "rejected", "initial"): 60,
            attempts("piper", "ok", "fallback"): 60,
        },
        {OPENAI: 0.25, PIPER: 1},
    ),
    "hit rate is hit of hit, miss and coalesced": Case(
        "hit_rate",
        counted(SYNTHESIS_DURATION, CACHE_RESULT, {"hit": 30, "miss": 50, "coalesced": 20, "bypass": 100}),
        {"{}": 0.3},
    ),
    "a provider that some replicas can use is in between": Case(
        "provider_state",
        {
            available("piper", "a"): "1+0x10",
            available("piper", "b"): "1+0x10",
            available("openai", "a"): "1+0x10",
            available("openai", "b"): "0+0x10",
        },
        {PIPER: 2, OPENAI: 1},
    ),
    "a provider that none can use is down": Case(
        "provider_state", {available("piper", "a"): "0+0x10", available("piper", "b"): "0+0x10"}, {PIPER: 0}
    ),
    "a gap is what is above the bucket of 0": Case(
        "gap_share",
        {underrun(count_series(STREAM_UNDERRUN)): 100, underrun(bucket_series(STREAM_UNDERRUN), le="0"): 80},
        {"{}": 0.2},
    ),
    "a stream without audio was not in time": Case(
        "first_audio_in_time",
        {
            **{first_audio(le, "ok"): gain for le, gain in {"2.5": 80, "+Inf": 90}.items()},
            first_audio_count("ok"): 90,
            streams("ok"): 90,
            streams("error"): 10,
            streams("rejected"): 500,
        },
        {"{}": 0.8},
    ),
    "a stream of which nobody knows when it was heard is neither in time nor late": Case(
        "first_audio_in_time", {streams("ok"): 90, streams("partial"): 10, streams("error"): 10}, {}
    ),
    "of the failed as many are late as streams say when they were heard": Case(
        "first_audio_in_time",
        {first_audio("2.5", "ok"): 45, first_audio_count("ok"): 45, streams("ok"): 90, streams("error"): 10},
        {"{}": 0.9},
    ),
    "a stream that failed after its first audio was in time": Case(
        "first_audio_in_time",
        {
            **{first_audio("2.5", outcome): gain for outcome, gain in {"ok": 80, "error": 4, "cancelled": 10}.items()},
            **{first_audio_count(outcome): gain for outcome, gain in {"ok": 80, "error": 4, "cancelled": 10}.items()},
            **{streams(outcome): gain for outcome, gain in {"ok": 80, "error": 10, "cancelled": 50}.items()},
        },
        {"{}": 0.94},
    ),
    "where all fail none is in time": Case("first_audio_in_time", {streams("error"): 30, streams("deadline"): 30}, {"{}": 0}),
    "quantiles are over all replicas": Case(
        "first_audio_p50",
        {
            **{first_audio(le, "ok", "a"): gain for le, gain in {"0.5": 60, "1": 60, "+Inf": 60}.items()},
            **{first_audio(le, "ok", "b"): gain for le, gain in {"0.5": 0, "1": 60, "+Inf": 60}.items()},
            first_audio_count("ok", "a"): 60,
            first_audio_count("ok", "b"): 60,
        },
        {"{}": 0.5},
    ),
    "a quantile of few is no data": Case(
        "first_audio_p95", {first_audio(le, "ok"): 3 for le in ("0.5", "+Inf")} | {first_audio_count("ok"): 3}, {}
    ),
    "a quantile beyond the last bucket is not drawn as one": Case(
        "first_audio_p95",
        {**{first_audio(le, "ok"): gain for le, gain in {"20": 50, "40": 56, "+Inf": 60}.items()}, first_audio_count("ok"): 60},
        {},
    ),
    "a quantile beyond the last bucket is at least its bound": Case(
        "first_audio_p95_limit",
        {**{first_audio(le, "ok"): gain for le, gain in {"20": 50, "40": 56, "+Inf": 60}.items()}, first_audio_count("ok"): 60},
        {"{}": 40},
    ),
    "a quantile within the last bucket has no limit": Case(
        "first_audio_p95_limit",
        {**{first_audio(le, "ok"): gain for le, gain in {"20": 50, "40": 57, "+Inf": 60}.items()}, first_audio_count("ok"): 60},
        {},
    ),
    "a budget is used up exactly where the objective is just met": Case(
        "success_budget_left", counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 99, "error": 1}), {"{}": 0}
    ),
    "an alert that fires is told with its time, one that waits is not, nor the watchdog": Case(
        "alerts_firing",
        {
            'ALERTS{alertname="TTSProviderDown", alertstate="firing", severity="page", service_name="a"}': "1+0x10",
            'ALERTS_FOR_STATE{alertname="TTSProviderDown", severity="page", service_name="a"}': "100+0x10",
            'ALERTS{alertname="TTSSynthesisSlow", alertstate="pending", severity="ticket"}': "1+0x10",
            'ALERTS_FOR_STATE{alertname="TTSSynthesisSlow", severity="ticket"}': "100+0x10",
            'ALERTS{alertname="TTSWatchdog", alertstate="firing", severity="info"}': "1+0x10",
            'ALERTS_FOR_STATE{alertname="TTSWatchdog", severity="info"}': "0+0x10",
        },
        {
            '{alertname="TTSProviderDown", meaning="TTSProviderDown", runbook="TTSProviderDown", severity="page", service_name="a"}': (
                100_000
            )
        },
    ),
    "without its alert, alerting is broken": Case("watchdog", {}, {"{}": 0}),
    "another version of a service that was there is a deploy, the first one is not": Case(
        "deploys",
        {
            series_text(count_series(SYNTHESIS_DURATION), service_version="1"): "0+1x10 stale",
            series_text(count_series(SYNTHESIS_DURATION), service_version="2"): "_ _ _ _ _ _ _ _ 0 1 2",
            count_series(SYNTHESIS_DURATION) + '{service_name="speech", service_version="9", job="other"}': "0+1x10",
        },
        {'{service_name="speech", service_version="2"}': 1},
    ),
    "a cluster is asked of alone, and not with another that has a service of the same name": Case(
        "success_rate",
        counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 60}, k8s_cluster_name="us")
        | counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 10, "error": 30}, k8s_cluster_name="eu")
        | counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 20}),
        {"{}": 0.25},
        places={"k8s_cluster_name": "eu"},
    ),
    "several clusters are asked of together": Case(
        "requests_counted",
        {
            series_text(count_series(SYNTHESIS_DURATION), k8s_cluster_name=name): number
            for name, number in {"us": 20.0, "eu": 40.0, "ap": 80.0}.items()
        },
        {"{}": 300},
        places={"k8s_cluster_name": "(eu|us)"},
    ),
    "all of them are those that name no cluster, too": Case(
        "requests_counted",
        {
            series_text(count_series(SYNTHESIS_DURATION)): 10.0,
            series_text(count_series(SYNTHESIS_DURATION), k8s_cluster_name="eu"): 20.0,
        },
        {"{}": 150},
    ),
    "a cluster that is silent is not hidden by another with a service of the same name": Case(
        "silence",
        {
            series_text(count_series(SYNTHESIS_DURATION), k8s_cluster_name="us"): 10.0,
            series_text(count_series(SYNTHESIS_DURATION), k8s_cluster_name="eu"): "0+1x5" + " stale" + " _" * 4,
        },
        {"{}": 300},
    ),
    "a version that is new in one cluster and old in another is a deploy": Case(
        "deploys",
        {
            series_text(count_series(SYNTHESIS_DURATION), service_version="2", k8s_cluster_name="us"): "0+1x10",
            series_text(count_series(SYNTHESIS_DURATION), service_version="1", k8s_cluster_name="eu"): "0+1x10 stale",
            series_text(count_series(SYNTHESIS_DURATION), service_version="2", k8s_cluster_name="eu"): "_ _ _ _ _ _ _ _ 0 1 2",
        },
        {'{service_name="speech", service_version="2", k8s_cluster_name="eu"}': 1},
    ),
    "alerts are those of the chosen cluster and of what is in none": Case(
        "alerts_over_time",
        {
            f'ALERTS{{alertname="TTSProviderDown", alertstate="firing", k8s_cluster_name="{name}", service_name="a"}}': "1+0x10"
            for name in ("eu", "us")
        }
        | {'ALERTS{alertname="TTSTelemetryLost", alertstate="firing", exporter="otlp"}': "1+0x10"},
        {
            '{alertname="TTSProviderDown", k8s_cluster_name="eu", service_name="a"}': 1,
            '{alertname="TTSTelemetryLost"}': 1,
        },
        places={"k8s_cluster_name": "eu"},
    ),
    "a quantile of nothing is no data": Case(
        "first_audio_p50", {first_audio(le, "ok"): 0 for le in ("0.5", "+Inf")} | {first_audio_count("ok"): 0}, {}
    ),
    "drift is what the last run of the batch job told, long after it ended": Case(
        "drift_score",
        {drift("monday"): "2.5 2.5 stale" + " _" * 300, drift("tuesday"): "_ " * 120 + "0.5 stale" + " _" * 180},
        {f'{{{label(DRIFT_COLUMN)}="latency", {label(PROVIDER)}="piper"}}': 0.5},
        minutes=300,
    ),
    "cost is by the hour": Case("cost_rate", {series_text(series(USAGE_COST), **{label(PROVIDER): "piper"}): 0.01}, {PIPER: 0.6}),
    "no fallback is 0 where there are requests": Case(
        "fallback_rate",
        counted(SYNTHESIS_DURATION, OUTCOME, {"ok": 60}),
        {f'{{{label(FALLBACK_FROM)}="none", {label(FALLBACK_TO)}="none"}}': 0},
    ),
    "an untouched budget of no requests is no data": Case("success_budget_left", {}, {}),
    "a reference that nobody set or published is the default": Case("first_audio_reference", {}, {reference("default"): 2.5}),
    "a reference that is set goes before all others": Case(
        "first_audio_reference",
        {published("true"): "0.7+0x10"},
        {reference("environment"): 1.5},
        objectives=Objectives(reference=1.5, reference_is_set=True),
    ),
    "streams and unary requests have references of their own": Case(
        "duration_reference",
        {published("true"): "0.7+0x10", published("false"): "0.9+0x10"},
        {reference("published", "piper"): 0.9},
    ),
    "what the rules judge against is what is drawn": Case(
        "first_audio_reference",
        {
            f"{JUDGED}{{{SERVICE}, {reference('yesterday', 'piper')[1:]}": "0.4+0x5 stale",
            published("true"): "0.7+0x10",
        },
        {reference("yesterday", "piper"): 0.4},
    ),
    "of many voices those with the most requests are drawn": Case(
        "requests_by_voice",
        {series_text(series(SYNTHESIS_REQUESTS), **{label(VOICE): f"v{number}"}): 60.0 * number for number in range(1, 13)},
        {f'{{{label(VOICE)}="v{number}"}}': float(number) for number in range(3, 13)},
    ),
    "what is drawn of a voice is judged by its requests": Case(
        "quality_score",
        {series_text(series(SYNTHESIS_REQUESTS), **{label(VOICE): f"v{number}"}): 60.0 * number for number in range(1, 13)}
        | {
            series_text(name(QUALITY_SCORE), **{label(VOICE): f"v{number}"}): gain
            for number in (1, 12)
            for name, gain in ((sum_series, 240.0), (count_series, 60.0))
        },
        {f'{{{label(VOICE)}="v12"}}': 4.0},
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_query_means_what_it_says(what: str, tmp_path: Path) -> None:
    """Prometheus gives the answer, to within a millionth."""
    case = CASES[what]
    scope = Scope(
        matchers=(SERVICE,),
        places=case.places,
        narrowed={PROVIDER: ".*"},
        window=case.window,
        objectives=case.objectives,
        ranked_over="5m",
    )
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": gain if isinstance(gain, str) else f"0+{gain:g}x{case.minutes}"}
            for name, gain in case.given.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"round({QUERIES[case.query](scope)}, 1e-6)",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in case.answer.items()],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    run = subprocess.run([program("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


# --- searches for traces -----------------------------------------------------------------------------------------------------

GRAMMAR = "@grafana/lezer-traceql@1.0.0"
"""Grafana's own grammar of TraceQL: what its editor reads searches with."""
PARSE = """
import { parser } from '@grafana/lezer-traceql';
const read = (text) => {
  const nodes = [];
  parser.parse(text).iterate({ enter: (node) => { nodes.push([node.name, text.slice(node.from, node.to)]); } });
  return nodes;
};
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(read)));
"""
ERROR = "\N{WARNING SIGN}"
"""What the grammar calls the parts that it cannot read."""
SEARCHING = [
    target for board in BOARDS.values() for panel in asking(board) for target in panel["targets"] if "queryType" in target
]
SEARCHES = [target["query"] for target in SEARCHING if target["datasource"]["type"] == "tempo"]


def read(searches: Sequence[str]) -> list[list[tuple[str, str]]]:
    """The parts of each search, by kind. The grammar is downloaded once, into the user's cache."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tts" / GRAMMAR.rpartition("/")[2]
    for name in ("node", "npm"):
        if not shutil.which(name):
            reason = f"TraceQL's grammar is a package for Node.js, and there is no {name} on PATH."
            pytest.fail(reason) if os.environ.get("REQUIRE_TOOLS") else pytest.skip(reason)
    if not (kept / "node_modules").is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        quietly = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        subprocess.run(["npm", "install", "--prefix", kept, *quietly, GRAMMAR], check=True, timeout=300)
    command = ["node", "--input-type=module", "--eval", PARSE, json.dumps(searches)]
    out = subprocess.run(command, cwd=kept, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    return [[(kind, text) for kind, text in nodes] for nodes in json.loads(out)]


def test_searches_are_traceql() -> None:
    """Grafana's grammar reads all of each, and finds the fault in one that has one."""
    *good, bad = read([*SEARCHES, SEARCHES[0].replace("}", "")])
    assert [text for nodes in good for kind, text in nodes if kind == ERROR] == []
    assert ERROR in dict(bad)


def test_searches_ask_for_what_the_registry_has() -> None:
    """Each names one span, the chosen services, and only attributes that this span has."""
    attributes = {f"span.{attribute.key}" for attribute in SYNTHESIS_SPAN.attributes}
    for nodes in read(SEARCHES):
        fields = {text for kind, text in nodes if kind == "AttributeField"}
        resource = {f"resource.{key}" for key in ("service.name", *SELECTABLE)}
        assert resource <= fields
        assert fields - resource <= attributes | {f"span.{ERROR_TYPE.key}"}
        assert {text for kind, text in nodes if kind == "IntrinsicField"} <= {"name", "duration"}
        assert f'"{SYNTHESIS_SPAN.name}"' in {text for kind, text in nodes if kind == "String"}


def test_both_languages_ask_for_the_same() -> None:
    """Each panel asks Jaeger first, since its data source answers no second query, and what is asked of one is asked of the other."""
    panels = [panel for board in BOARDS.values() for panel in asking(board) if any("queryType" in t for t in panel["targets"])]
    assert len(panels) == 6
    for panel in panels:
        jaeger, tempo = panel["targets"]
        assert [jaeger["datasource"]["type"], tempo["datasource"]["type"]] == ["jaeger", "tempo"]
        assert (jaeger["queryType"], tempo["queryType"]) == ("search", "traceql")
        assert (jaeger["service"], jaeger["operation"]) == ("$service", SYNTHESIS_SPAN.name)
        assert jaeger["limit"] == tempo["limit"]
        asked = tempo["query"].partition(" && ")[2]
        if jaeger["tags"]:
            key, _, value = jaeger["tags"].partition("=")
            assert f"span.{key} = {value if value == 'true' else json.dumps(value)} }}" in asked
            assert key in {attribute.key for attribute in SYNTHESIS_SPAN.attributes}
        else:
            assert f"duration > {jaeger['minDuration']} }}" in asked
