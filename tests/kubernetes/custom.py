"""Resources of the Prometheus operator against its own definitions of them, as the API server reads these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

KINDS = {"PrometheusRule": "prometheusrules", "ServiceMonitor": "servicemonitors"}
TOOLS = Path(__file__).parents[2] / ".tools" / "bin"


def definition(kind: str) -> Path | None:
    """The file that defines a kind; None where `make tools` has not brought it."""
    path = TOOLS / f"monitoring.coreos.com_{KINDS[kind]}.yaml"
    return path if path.exists() else None


@cache
def schema(path: Path, version: str) -> dict[str, Any]:
    """The schema of a version, in which a field that it does not name is a mistake."""
    document = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
    [named] = [served["schema"]["openAPIV3Schema"] for served in document["spec"]["versions"] if served["name"] == version]
    return dict(_strict(named))


def mistakes(resource: Mapping[str, Any], path: Path) -> list[str]:
    """What is wrong with a resource, a line each."""
    version = resource["apiVersion"].partition("/")[2]
    own = {key: value for key, value in resource.items() if key != "metadata"}  # which the API server has a schema for
    validator = jsonschema.Draft7Validator(schema(path, version))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(own)]


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = dict(_items(node))
    is_object = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    if is_object and "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields"):
        strict["additionalProperties"] = False
    return strict


def _items(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            yield key, {name: _strict(field) for name, field in value.items()}
        else:
            yield key, _strict(value)
