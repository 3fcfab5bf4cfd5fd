"""The Collector's and Prometheus's configuration, as the programs themselves judge it."""

from __future__ import annotations

import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import COLLECTOR, DEPLOY, program

OVERLAYS = ("keep-text", "logs", "tail-sampling", "tls")
"""Those that the slim Collector has the components for."""
ENVIRON = {
    "LOGS_OTLP_URL": "http://127.0.0.1:3100/otlp",
    "OTLP_TOKEN_FILE": "/dev/null",
    "TLS_CERT_FILE": "/dev/null",
    "TLS_KEY_FILE": "/dev/null",
}


def validated(*overlays: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the Collector says of the base with these overlays."""
    configs = [f"--config={COLLECTOR / name}.yaml" for name in ("config", *overlays)]
    return subprocess.run([program("otelcol-tts"), "validate", *configs], env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("overlays", [(), *combinations(OVERLAYS, 2), OVERLAYS, OVERLAYS[::-1]], ids="+".join)
def test_overlays_combine(overlays: tuple[str, ...], tmp_path: Path) -> None:
    """The base is valid, and stays so with any overlays in any order."""
    result = validated(*overlays, QUEUE_DIR=str(tmp_path), **ENVIRON)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("overlay", ["logs", "tls"])
def test_what_an_overlay_needs_it_asks_for(overlay: str, tmp_path: Path) -> None:
    """An overlay whose variables are not set is refused: it never opens what it was meant to close."""
    assert validated(overlay, QUEUE_DIR=str(tmp_path)).returncode == 1


def test_every_address_is_ours_by_default() -> None:
    """All that listens is bound to this machine alone, unless the environment says otherwise, and every port can be moved."""
    config = yaml.safe_load((COLLECTOR / "config.yaml").read_text())
    listening = [
        config["extensions"]["health_check"]["endpoint"],
        *(protocol["endpoint"] for protocol in config["receivers"]["otlp"]["protocols"].values()),
    ]
    assert len(listening) == 3
    for endpoint in listening:
        assert re.fullmatch(r"\$\{env:\w+_BIND:-127\.0\.0\.1\}:\$\{env:\w+_PORT:-\d+\}", endpoint)


def test_the_slim_collector_has_what_is_used_and_no_more() -> None:
    """The builder's manifest names the components of the base and its overlays, exactly, all of one release."""
    sections = ("receivers", "processors", "exporters", "extensions")
    configs = [yaml.safe_load((COLLECTOR / f"{name}.yaml").read_text()) for name in ("config", *OVERLAYS)]
    used = {(section, key.partition("/")[0]) for config in configs for section in sections for key in config.get(section, ())}
    components: Any = yaml.safe_load(
        subprocess.run([program("otelcol-tts"), "components"], capture_output=True, check=True).stdout
    )
    built = {(section, component["name"]) for section in sections for component in components[section]}
    assert built == used
    manifest = (COLLECTOR / "builder.yaml").read_text()
    versions = set(re.findall(r"gomod: \S+ v(\S+)", manifest))
    assert versions == {yaml.safe_load(manifest)["dist"]["version"], "1.67.0"}


def test_prometheus_accepts_its_configuration() -> None:
    """Prometheus finds nothing wrong with prometheus.yml and the rules that it names."""
    config = DEPLOY / "prometheus" / "prometheus.yml"
    checked = subprocess.run([program("promtool"), "check", "config", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
