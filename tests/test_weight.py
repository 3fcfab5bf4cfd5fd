"""What everybody installs: each base dependency is loaded by a service that emits, by zero code or by a command of the base."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = [
    re.split(r"[><=]", line)[0] for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
]
NOTE_IMPORTS = """
import atexit, json, os, sys

@atexit.register
def note():
    with open(os.environ["IMPORTS"], "a") as file:
        file.write(json.dumps([path for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))]) + "\\n")
"""
EMIT = """
import otel_tts
pipeline = otel_tts.configure()
with otel_tts.Telemetry().synthesis("Hello") as s, s.attempt("piper") as attempt:
    attempt.audio(bytes(1600), otel_tts.PCM16(8000))
pipeline.shutdown()
"""
UNREACHABLE = "http://127.0.0.1:9"
TABLE = (ROOT / "docs/dependencies.md").read_text("utf-8").partition("## Who loads it")[2].partition("\n## ")[0]


def loaded(directory: Path, command: list[str], **environ: str) -> set[str]:
    """The base dependencies of which a command has loaded something when it ends."""
    (directory / "sitecustomize.py").write_text(NOTE_IMPORTS)
    imports = directory / "imports"
    imports.unlink(missing_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ |= {"PYTHONPATH": str(directory), "IMPORTS": str(imports), "OTEL_TTS_DATA_DIR": str(directory / "data")}
    subprocess.run(
        command, env=inherited | environ | {"OTEL_TTS_SHUTDOWN_TIMEOUT": "1"}, capture_output=True, check=True, timeout=120
    )
    files = {os.path.realpath(path) for line in imports.read_text().splitlines() for path in json.loads(line)}
    return {name for name in BASE if any(os.path.realpath(file.locate()) in files for file in distribution(name).files or ())}


def test_nobody_installs_what_nobody_loads(tmp_path: Path) -> None:
    """Every base dependency is loaded on one of these ways, and the table in docs/dependencies.md says on which."""
    program, observed = tmp_path / "emit.py", tmp_path / "observed.py"
    program.write_text(EMIT)
    observed.write_text(NOTE_IMPORTS + "import otel_tts\nwith otel_tts.Telemetry().synthesis('Hello'): pass\n")
    otel_tts = [sys.executable, "-c", "from otel_tts.cli import main; main()"]
    ways = {
        "a service, OTLP/HTTP": loaded(tmp_path, [sys.executable, str(program)], OTEL_EXPORTER_OTLP_ENDPOINT=UNREACHABLE),
        "`otel-tts run`, port 4317": loaded(
            tmp_path, [*otel_tts, "run", sys.executable, str(observed)], OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.9:4317"
        ),
        "`otel-tts requests`": loaded(tmp_path, [*otel_tts, "requests"]),
    }
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", TABLE, re.MULTILINE))
    assert rows == {name: " | ".join("yes" if name in way else "-" for way in ways.values()) for name in BASE}
    assert [name for name in BASE if not any(name in way for way in ways.values())] == []


def test_the_library_loads_no_event_loop() -> None:
    """What a service imports to speak loads neither asyncio nor the metadata of packages: a third of its time, and most need neither."""
    statement = "import sys; from otel_tts import PCM16, Telemetry; print(*sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COV_", "COVERAGE_"))}
    run = subprocess.run([sys.executable, "-c", statement], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert not {"asyncio", "email.message", "importlib.metadata", "subprocess", "ssl"} & set(run.stdout.split())


def test_names_for_annotations_are_public_and_cost_nothing_until_they_are_used() -> None:
    """Whoever types a program finds the classes of all that the API returns; importing the packages loads none of them."""
    statement = """
import sys, otel_tts, otel_tts.testing
assert not [name for name in sys.modules if name.startswith(("otel_tts.core", "otel_tts.sdk", "otel_tts.testing.", "opentelemetry"))]
from otel_tts import Lookup, MeasuredAsyncIterator, MeasuredIterator, PCM16, Pipeline, Telemetry
from otel_tts.testing import Capture
with Telemetry().synthesis("Hello") as synthesis:
    with synthesis.lookup("memory") as lookup:
        assert isinstance(lookup, Lookup)
    assert isinstance(synthesis.stream(iter([b""]), "piper", audio=PCM16(8000)), MeasuredIterator)
assert Capture.__module__ == "otel_tts.testing.capture"
assert isinstance(otel_tts.configure(), Pipeline)
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COV_", "COVERAGE_"))}
    subprocess.run([sys.executable, "-c", statement], env=environ, check=True, timeout=120)
