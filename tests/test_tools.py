"""`make tools`, as far as it goes without building anything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import programs

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


def test_what_builds_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled packages, an ended build and a program that no clone has asked for in a month go; programs in use and the lock stay."""
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    used, unused = "prometheus-0.314.0-8357cffb5c38", "jaeger-1.76.0-a9b49c677c5a"
    for name in (used, unused, "compiled", "thanos-8xk_2f3q"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    (tmp_path / "lock").touch()
    a_month_ago = time.time() - programs.KEPT_S - 60
    os.utime(tmp_path / unused, (a_month_ago, a_month_ago))
    programs.tidy()
    assert {path.name for path in tmp_path.iterdir()} == {used, "lock"}


@pytest.mark.parametrize("name", [*programs.PROGRAMS, *programs.SCALE])
def test_names_of_what_is_kept(name: str) -> None:
    """Every program is kept under a name by which it is known as one."""
    program = {**programs.PROGRAMS, **programs.SCALE}[name]()
    assert programs.KEPT.fullmatch(programs.cached(name, program).name)
