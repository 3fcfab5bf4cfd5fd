"""A metric has another name: one line in the registry, `make generate`, and everything follows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tts.semconv import ATTEMPT_DURATION

ROOT = Path(__file__).parents[1]
OLD, NEW = ATTEMPT_DURATION.name, "tts.engine.call.duration"
LEFT_OUT = (".*_cache", ".git", ".hypothesis", ".tools", ".venv", "__pycache__", "build", "dist", "*.egg-info")
# Recording, the files, the readers, the queries, the alerts as Prometheus evaluates them, the dashboards and the pages.
SELECTED = (
    "tests/core/test_attempts.py",
    "tests/core/test_endings.py",
    "tests/core/test_synthesis.py",
    "tests/history/test_aggregates.py",
    "tests/test_promql.py",
    "tests/test_conditions.py",
    "tests/rules/test_rules.py",
    "tests/grafana",
    "tests/test_cli.py::test_generated_files_are_not_stale",
)
SLOW = "not Burn and not browser"


def forms(name: str) -> tuple[str, str]:
    """A name as OpenTelemetry and as Prometheus write it."""
    return name, name.replace(".", "_")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout, with the metric renamed in its one line; tests that state the name as a contract state the new one."""
    directory = Path(shutil.copytree(ROOT, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT)))
    (directory / ".tools").symlink_to(ROOT / ".tools")
    registry = directory / "otel_tts" / "semconv" / "metrics.py"
    assert registry.read_text().count(f'"{OLD}"') == 1
    registry.write_text(registry.read_text().replace(f'"{OLD}"', f'"{NEW}"'))
    for path in (directory / "tests").rglob("*.py"):
        text = path.read_text("utf-8")
        for old, new in zip(forms(OLD), forms(NEW), strict=True):
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
    return directory


def run(directory: Path, *command: str) -> str:
    """What a Python command prints, in a checkout and with its package."""
    environ = os.environ | {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run([sys.executable, *command], cwd=directory, env=environ, capture_output=True, text=True)
    assert process.returncode == 0, (process.stdout + process.stderr)[-5000:]
    return process.stdout


@pytest.mark.timeout(600)  # a session of tests within the session
def test_a_rename_is_one_line(copy: Path) -> None:
    """Documentation, rules, dashboards and queries are written anew, nothing that runs knows the old name, and the tests are green."""
    wrote = run(copy, "-m", "tools.generate").splitlines()
    expected = {"wrote docs/telemetry.md", "wrote deploy/prometheus/rules/speech.yml"}
    if (copy / "dashboards" / "providers.json").exists():
        expected.add("wrote dashboards/providers.json")
    assert expected <= set(wrote)
    places = [path for name in ("otel_tts", "docs", "deploy", "dashboards", "collector") for path in (copy / name).rglob("*")]
    places = [path for path in places if "rendered" not in path.parts]  # of the Helm chart: `make chart` writes these
    texts = {path: path.read_text("utf-8") for path in places if path.suffix in {".py", ".md", ".yml", ".yaml", ".json", ".toml"}}
    assert [path for path, text in texts.items() if any(form in text for form in forms(OLD))] == []
    selected = [name for name in SELECTED if (copy / name.partition("::")[0]).exists()]
    run(copy, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", SLOW, *selected)
