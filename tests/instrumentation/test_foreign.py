"""Interpreters that an observed program starts, and that have nothing of ours: they notice nothing, and neither does who reads them."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

RUN = str(Path(sys.executable).with_name("otel-tts"))
START = "import subprocess, sys; p = subprocess.run({command!r}, capture_output=True, text=True); print([p.returncode, p.stdout, p.stderr])"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it."""
    directory = tmp_path_factory.mktemp("foreign")
    venv.create(directory, with_pip=False, symlinks=True)
    return directory


def packages(environment: Path) -> Path:
    """Where it keeps its packages."""
    return next(environment.glob("lib/python*/site-packages"))


BROKEN = {
    "nothing": {},
    "another OpenTelemetry": {"opentelemetry/__init__.py": "", "opentelemetry/instrumentation/__init__.py": ""},
    "OpenTelemetry without otel-tts": {
        "opentelemetry/instrumentation/auto_instrumentation.py": "def initialize(): print('loud')"
    },
    "one that raises": {"opentelemetry/__init__.py": "raise RuntimeError('loud')"},
    "a broken otel-tts": {"otel_tts/__init__.py": "raise SyntaxError('loud')"},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_nothing_of_ours_is_seen_in_another_environment(foreign: Path, tmp_path: Path, kind: str) -> None:
    """Whatever such an environment has or has not: its programs print what they print, and nothing else."""
    own = tmp_path / "packages"
    for name, text in BROKEN[kind].items():
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own.mkdir(exist_ok=True)
    (packages(foreign) / "own.pth").write_text(f"{own}\n")
    command = [str(foreign / "bin/python"), "-c", "print('hello')"]
    program = START.format(command=command)
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.run(
        [RUN, "run", "--", sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60
    )
    assert (process.stdout, process.stderr) == (f"{[0, 'hello' + chr(10), '']}\n", "")


def test_interpreters_of_the_same_environment_are_observed(tmp_path: Path) -> None:
    """A program that an observed one starts is observed too."""
    command = [sys.executable, "-c", "from opentelemetry import trace; print(type(trace.get_tracer_provider()).__module__)"]
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.run(
        [RUN, "run", "--", sys.executable, "-c", START.format(command=command)],
        env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "otel_tts.sdk" in process.stdout, process.stdout + process.stderr
