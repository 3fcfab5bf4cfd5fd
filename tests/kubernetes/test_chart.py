"""The Helm chart, rendered by Helm itself and checked against the schemas of Kubernetes' API."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.chart import CHART, KUBERNETES, examples, manifests, plain, render

if os.environ.get("REQUIRE_TOOLS"):
    import helm_python as helm
    import kubernetes_validate as validate
else:
    helm = pytest.importorskip("helm_python", reason="`make chart` installs Helm")
    validate = pytest.importorskip("kubernetes_validate", reason="`make chart` installs the schemas")

ROOT = Path(__file__).parents[2]
EXAMPLES = {"defaults": {}, **examples()}
OPERATOR = ("PrometheusRule", "ServiceMonitor")
CONTAINERS = ("Deployment", "StatefulSet", "CronJob")


SWITCHES = ("gateway", "live", "report", "rules", "dashboards", "serviceMonitor", "networkPolicy", "example")
STATES = random.Random(16).sample(list(itertools.product((True, False), repeat=len(SWITCHES))), 24)


def pod(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The pod's specification in a workload."""
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return dict(spec["template"]["spec"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_it_makes_is_valid(name: str) -> None:
    """Each resource of each example follows the schema of Kubernetes' API, strictly: no unknown field, no wrong type."""
    resources = list(manifests(EXAMPLES[name]))
    assert len(resources) > 5
    for resource in resources:
        if resource["kind"] not in OPERATOR:
            validate.validate(resource, "1.37", strict=True)


@pytest.mark.parametrize("states", STATES, ids=lambda states: "".join("01"[state] for state in states))
def test_every_switch_makes_something_valid(states: tuple[bool, ...]) -> None:
    """Whatever is turned on and off, the chart renders, names are unique, and what selects finds what it selects."""
    values: dict[str, Any] = {name: {"enabled": state} for name, state in zip(SWITCHES, states, strict=True)}
    values |= {
        "engines": {"mlflow": {"url": "http://mlflow:5000"}},
        "collector": {"tailSampling": {"enabled": sum(states) % 2 == 0}},
    }
    resources = list(manifests(values))
    names = [(resource["kind"], resource["metadata"]["name"]) for resource in resources]
    assert len(names) == len(set(names))
    labels = [r["spec"]["template"]["metadata"]["labels"] for r in resources if r["kind"] in ("Deployment", "StatefulSet")]
    for resource in resources:
        if resource["kind"] in OPERATOR:
            continue
        validate.validate(resource, "1.37", strict=True)
        if resource["kind"] == "Service":
            assert any(resource["spec"]["selector"].items() <= those.items() for those in labels), resource["metadata"]["name"]


def test_helm_lints_it() -> None:
    """Helm's own lint has no error and no warning."""
    from helm_python.chart import lint

    messages = lint(CHART, strict=True, quiet=True)
    assert [m for m in messages.get("messages") or [] if m.get("severity") in ("WARNING", "ERROR", 2, 3)] == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gatway": {"enabled": False}}, "gatway"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"collector": {"tailSampling": {"percentage": 101}}}, "percentage"),
        ({"engines": {"metrics": {"queryUrl": "prometheus:9090"}}}, "queryUrl"),
        ({"example": {"providers": ["polly"]}}, "providers"),
        ({"report": {"enabled": True}}, "engines.mlflow.url"),
    ],
)
def test_a_mistake_in_the_values_is_named(values: dict[str, Any], named: str) -> None:
    """A misspelt name, a value out of range and a missing address are refused, and the message names them."""
    with pytest.raises(helm.HelmError, match=named):
        render(values)


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_have_no_privileges(name: str) -> None:
    """Every container runs as an ordinary user, on a file system that it cannot write to, with limits of memory."""
    workloads = [resource for resource in manifests(EXAMPLES[name]) if resource["kind"] in CONTAINERS]
    assert workloads
    for workload in workloads:
        assert pod(workload)["securityContext"]["runAsNonRoot"] is True
        for container in pod(workload)["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_the_parts_that_scaling_out_needs() -> None:
    """Gateways scale by themselves and may be moved one at a time; Collectors have volumes that outlive them; reports never overlap."""
    resources = {(resource["kind"], resource["metadata"]["name"]): resource for resource in manifests(EXAMPLES["hosted"])}
    assert ("HorizontalPodAutoscaler", "otel-tts-gateway") in resources
    assert ("PodDisruptionBudget", "otel-tts-gateway") in resources
    collector = resources["StatefulSet", "otel-tts-collector"]["spec"]
    assert collector["volumeClaimTemplates"]
    assert set(collector["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert resources["CronJob", "otel-tts-report"]["spec"]["concurrencyPolicy"] == "Forbid"
    assert resources["Service", "otel-tts-collector-headless"]["spec"]["clusterIP"] == "None"


def test_rules_and_dashboards_are_those_of_the_repository() -> None:
    """What the chart installs is what `make generate` writes."""
    values = {"rules": {"enabled": True}, "dashboards": {"enabled": True}}
    resources = list(manifests(values))
    rules = [resource["spec"] for resource in resources if resource["kind"] == "PrometheusRule"]
    committed = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))]
    assert sorted(map(json.dumps, rules)) == sorted(map(json.dumps, committed))
    maps = {key: text for resource in resources if resource["kind"] == "ConfigMap" for key, text in resource["data"].items()}
    for path in (ROOT / "dashboards").glob("*.json"):
        assert json.loads(maps[path.name]) == json.loads(path.read_text("utf-8"))


def test_notes_say_how_to_check_it() -> None:
    """After the installation people are told where to send telemetry, and to run `otel-tts doctor`."""
    notes = render(EXAMPLES["one-namespace"])["otel-tts/templates/NOTES.txt"]
    assert "otel-tts doctor" in notes
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-tts-collector.speech:4318" in notes


@pytest.mark.parametrize("name", examples())
def test_rendered_files_are_current(name: str) -> None:
    """The plain YAML for people without Helm is what Helm makes of the chart."""
    assert (KUBERNETES / "rendered" / f"{name}.yaml").read_text("utf-8") == plain(name, EXAMPLES[name])
