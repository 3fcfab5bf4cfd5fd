"""Renders the Helm chart with each example's values into plain YAML, for those without Helm: ``make chart``.

The dashboards are left out, since each copy has 300 kB: `kubectl create configmap --from-file dashboards/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
NAMESPACE = "speech"


def examples() -> Mapping[str, dict[str, Any]]:
    """The values of each example, by its name."""
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted((KUBERNETES / "examples").glob("*.yaml"))}


def render(values: Mapping[str, Any]) -> dict[str, str]:
    """Render the chart by Helm itself.

    Args:
        values: what differs from ``values.yaml``.

    Returns:
        The text of each template, by its path in the chart.

    Raises:
        helm_python.HelmError: the values do not follow the schema, or a template failed.
    """
    from helm_python.chart import Chart  # a quarter of a gigabyte, and only here

    return Chart.load(CHART).render(dict(values), name="otel-tts", namespace=NAMESPACE)


def manifests(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the resources that the chart makes of some values.

    Args:
        values: of the chart.
    """
    for path, text in render(values).items():
        if path.endswith(".yaml"):
            yield from filter(None, yaml.load_all(text, yaml.CSafeLoader))  # the other one takes seconds for the dashboards


def plain(name: str, values: Mapping[str, Any]) -> str:
    """Give the file for people without Helm.

    Args:
        name: of the file.
        values: of the chart.
    """
    source = f"../chart and ../examples/{name}.yaml"
    heading = f"# Written by `make chart` from {source}: edit those, not this. For the namespace {NAMESPACE}.\n"
    resources = list(manifests({**values, "dashboards": {"enabled": False}}))
    for resource in resources:  # nothing was installed by Helm
        for key in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
            _drop_label(resource, key)
    return heading + yaml.safe_dump_all(resources, sort_keys=False, width=140, allow_unicode=True)


def _drop_label(node: Any, key: str) -> None:
    if isinstance(node, dict):
        if isinstance(labels := node.get("labels"), dict):
            labels.pop(key, None)
        node = node.values()
    elif not isinstance(node, list):
        return
    for value in node:
        _drop_label(value, key)


def main() -> None:
    """Write the rendered examples, or check that they are current."""
    parser = argparse.ArgumentParser(
        description="Render the Helm chart with each example's values into deploy/kubernetes/rendered."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    check = parser.parse_args().check
    stale = []
    for name, values in examples().items():
        target = KUBERNETES / "rendered" / f"{name}.yaml"
        text = plain(name, values)
        if not target.is_file() or target.read_text("utf-8") != text:
            stale.append(target.name)
            if not check:
                target.parent.mkdir(exist_ok=True)
                target.write_text(text, "utf-8")
                print(f"wrote {target.relative_to(ROOT)}")
    if check and stale:
        raise SystemExit(f"Stale: {', '.join(stale)}. Run `make chart` and commit what it writes.")


if __name__ == "__main__":
    main()
