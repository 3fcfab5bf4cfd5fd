"""Everything that the chart makes is taken by a real API server: by its schemas, its defaults and its own rules, as a dry run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.apiserver.server import APIServer, RefusedError, established, running
from tests.kubernetes.test_custom import KINDS, defined
from tools.chart import NAMESPACE, ROOT, examples, manifests

ALL = {
    "rules": {"enabled": True},
    "dashboards": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "example": {"enabled": True},
    "report": {"enabled": True},
    "engines": {"mlflow": {"url": "http://mlflow:5000"}},
    "collector": {"tailSampling": {"enabled": True}},
}
VALUES = {"defaults": {}, "all": ALL, **examples()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    """An API server that knows the Prometheus operator's resources, with the chart's namespace."""
    with running(tmp_path_factory.mktemp("apiserver")) as server:
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, "", dry=False)
        for kind in KINDS:
            definition = yaml.load(defined(kind).read_text("utf-8"), yaml.CSafeLoader)
            server.apply(definition, "", dry=False)
            established(server, definition["metadata"]["name"])
        yield server


@pytest.mark.parametrize("name", VALUES)
def test_every_resource_is_taken(server: APIServer, name: str) -> None:
    """Of each example, and with everything turned on."""
    taken = [server.apply(resource, NAMESPACE)["kind"] for resource in manifests(VALUES[name])]
    assert {"StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget"} <= set(taken)


def test_every_kind_of_resource_was_looked_at(server: APIServer) -> None:
    """What the chart can make at all, the operator's kinds among it."""
    kinds = {resource["kind"] for resource in manifests(ALL)}
    assert kinds >= {"HorizontalPodAutoscaler", "CronJob", "NetworkPolicy", "PersistentVolumeClaim", "Deployment", *KINDS}


@pytest.mark.parametrize("path", sorted((ROOT / "deploy/kubernetes/rendered").glob("*.yaml")), ids=lambda path: path.stem)
def test_plain_files_are_taken(server: APIServer, path: Any) -> None:
    """The YAML for people without Helm."""
    for resource in filter(None, yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader)):
        server.apply(resource, NAMESPACE)


def unknown_field(resource: dict[str, Any]) -> None:
    """A field that no schema has."""
    resource["spec"]["replica"] = 2


def other_labels(resource: dict[str, Any]) -> None:
    """A selector that does not match the pods: every field is right, and the whole is not."""
    resource["spec"]["selector"]["matchLabels"] = {"app": "another"}


def missing_volume(resource: dict[str, Any]) -> None:
    """A volume that is mounted and not there."""
    resource["spec"]["template"]["spec"]["volumes"] = []


@pytest.mark.parametrize("spoil", [unknown_field, other_labels, missing_volume], ids=lambda spoil: spoil.__name__)
def test_a_mistake_is_refused(server: APIServer, spoil: Callable[[dict[str, Any]], None]) -> None:
    """The server finds also what a schema cannot say."""
    [gateway] = [
        resource
        for resource in manifests({})
        if (resource["kind"], "gateway" in resource["metadata"]["name"]) == ("Deployment", True)
    ]
    spoilt = copy.deepcopy(gateway)
    spoil(spoilt)
    with pytest.raises(RefusedError):
        server.apply(spoilt, NAMESPACE)


def test_nothing_was_kept(server: APIServer) -> None:
    """They were dry runs."""
    assert server.ask("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"] == []
