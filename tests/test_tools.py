"""`make tools`, as far as it goes without building anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[1] / "tools"
PROGRAMS = TOOLS / "programs.py"


def test_without_go(tmp_path: Path) -> None:
    """Without a Go toolchain it says what is missing, what for and where to get it, and changes nothing."""
    result = subprocess.run([sys.executable, PROGRAMS], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("otel-tts: collector, prometheus, alertmanager, jaeger, crds are built with Go")
    assert "none on PATH" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_program(tmp_path: Path) -> None:
    """A name that is none is answered with those that are."""
    result = subprocess.run([sys.executable, PROGRAMS, "grafana"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 2
    assert "there are collector, prometheus, alertmanager, jaeger" in result.stderr


def test_a_schema_without_node(tmp_path: Path) -> None:
    """Without Node.js it says what is missing, and leaves nothing behind."""
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, TOOLS / "grafana_schema.py"], env=environ, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == ("otel-tts: the schema of Grafana's dashboards is made with Node.js, and there is no node on PATH.\n")
    assert list(tmp_path.iterdir()) == []
