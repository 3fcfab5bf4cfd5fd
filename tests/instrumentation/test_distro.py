"""The distribution: how an unchanged program is set up, by what variables, and what is said when that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.settings import Settings

BIN = Path(sys.executable).parent
RUN = [str(BIN / "otel-tts"), "run", "--"]
SPEAK = """
import hibari
engine = hibari.Hibari()
print(len(engine("Hello there.")) > 0)
"""


def start(script: str, *launcher: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with telemetry."""
    return subprocess.run(
        [*(launcher or RUN), sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def spoken() -> list[str | None]:
    """The outcomes that stand in local files."""
    return [request.outcome for request in open_history(Settings.load()).requests()]


def test_without_any_setting_telemetry_stays_on_this_machine() -> None:
    """Local files, and not a word on the program's output."""
    run = start(SPEAK)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")
    assert spoken() == ["ok"]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "OTEL_TRACES_EXPORTER",
            "zipkni",
            "otel-tts: telemetry is off: OTEL_TRACES_EXPORTER='zipkni' is not allowed: it takes ",
        ),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            "soon",
            "otel-tts: telemetry is off: OTEL_METRIC_EXPORT_INTERVAL='soon' is not allowed: it takes ",
        ),
        ("OTEL_TTS_PRICES", "nowhere.toml", "otel-tts: telemetry is off: The price file 'nowhere.toml' cannot be read: "),
        (
            "OTEL_TTS_GRPC_MAPPING",
            "nowhere.toml",
            "otel-tts: tts_grpc_server is not observed: The gRPC mapping 'nowhere.toml' cannot be read: ",
        ),
        ("OTEL_CONFIG_FILE", "nowhere.yaml", "otel-tts: telemetry is off: "),
    ],
)
def test_a_mistake_is_one_clear_line(name: str, value: str, line: str) -> None:
    """And the program runs all the same."""
    run = start("print('here')", **{name: value})
    assert (run.returncode, run.stdout) == (0, "here\n")
    *others, last = run.stderr.splitlines()
    assert last.startswith(line), run.stderr
    assert others == (
        ["Configuration file not found: nowhere.yaml"] if name == "OTEL_CONFIG_FILE" else []
    )  # what reads it says so


def test_a_disabled_sdk_observes_nothing() -> None:
    """``OTEL_SDK_DISABLED``: no patch, no file."""
    run = start("import hibari; print(type(vars(hibari.Hibari)['stream']).__name__)", OTEL_SDK_DISABLED="true")
    assert (run.returncode, run.stdout, run.stderr) == (0, "function\n", "")
    assert not Settings.load().data_dir.exists()


def test_an_instrumentation_can_be_left_out() -> None:
    """By its name, as OpenTelemetry documents it."""
    run = start(SPEAK, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="tts_hibari")
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")
    assert spoken() == []


def test_standard_variables_decide_where_telemetry_goes() -> None:
    """Spans to the console, and nothing else anywhere."""
    run = start(SPEAK, OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert '"name": "tts.synthesize"' in run.stdout
    assert run.stderr == ""
    assert not Settings.load().data_dir.exists()


CONFIGURATION = """
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: from-a-file
tracer_provider:
  processors:
    - simple:
        exporter:
          console: {}
"""


def test_a_configuration_file_decides_everything(tmp_path: Path) -> None:
    """What stands in it is set up, what doesn't is off; variables for exporters no longer count."""
    file = tmp_path / "otel.yaml"
    file.write_text(CONFIGURATION)
    run = start(SPEAK, OTEL_CONFIG_FILE=str(file), OTEL_METRICS_EXPORTER="console")
    assert run.stderr == ""
    assert '"name": "tts.synthesize"' in run.stdout
    assert '"service.name": "from-a-file"' in run.stdout
    assert "resource_metrics" not in run.stdout
    assert not Settings.load().data_dir.exists()


def test_grpc_servers_are_ours_and_clients_are_opentelemetry_s() -> None:
    """Its server instrumentation does not know how an RPC ended; its client instrumentation is kept."""
    run = start(
        "from opentelemetry.instrumentation.grpc import *\n"
        "kinds = GrpcInstrumentorServer, GrpcAioInstrumentorServer, GrpcInstrumentorClient, GrpcAioInstrumentorClient\n"
        "print([kind().is_instrumented_by_opentelemetry for kind in kinds])"
    )
    assert (run.stdout, run.stderr) == ("[False, False, True, True]\n", "")


def test_a_log_record_leaves_once_and_without_what_an_exception_says() -> None:
    """OpenTelemetry's own log handler stays out: it would export the record again, with the text."""
    script = """
import logging
try:
    raise ValueError(" ".join(["Hello", "there."]))
except ValueError:
    logging.getLogger("shop").exception("speaking failed")
"""
    run = start(script)
    assert "Hello there." in run.stderr, "what the program says itself is its own matter"
    files = [path for path in (Settings.load().data_dir / "logs").rglob("*") if path.is_file()]
    records = "".join(path.read_text() for path in files)
    assert records.count('"exception.type"') == 1
    assert "Hello there." not in records


def other_distribution(directory: Path) -> Path:
    """The metadata of another OpenTelemetry distribution."""
    metadata = directory / "other_distro-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-distro\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[opentelemetry_distro]\nother = other_distro:Other\n")
    (directory / "other_distro.py").write_text(
        "from opentelemetry.instrumentation.distro import BaseDistro\n"
        "class Other(BaseDistro):\n    def _configure(self, **kwargs):\n        print('other')\n"
    )
    return directory


def test_next_to_another_distribution(tmp_path: Path) -> None:
    """``otel-tts run`` asks for ours; else the first on Python's path counts, unless ``OTEL_PYTHON_DISTRO`` says which."""
    others = str(other_distribution(tmp_path / "others"))
    plain = str(BIN / "opentelemetry-instrument")
    assert start(SPEAK, PYTHONPATH=others).stdout == "True\n"
    assert start(SPEAK, plain, PYTHONPATH=others).stdout == "other\nTrue\n"
    assert start(SPEAK, plain, PYTHONPATH=others, OTEL_PYTHON_DISTRO="otel_tts").stdout == "True\n"
    assert spoken() == ["ok"] * 3


def test_a_program_that_is_not_there() -> None:
    """What is missing, and what to do."""
    run = subprocess.run([*RUN, "service.py"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "Error: There is no program 'service.py'. A script needs its interpreter: otel-tts run -- python …\n"


def test_the_program_s_own_arguments_are_its_own() -> None:
    """Also those that look like ours, and without the two dashes."""
    for words in (["run", "--"], ["run"]):
        command = [str(BIN / "otel-tts"), *words, sys.executable, "-c", "import sys; print(sys.argv)", "--help", "-x", "--"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (run.stdout, run.stderr) == ("['-c', '--help', '-x', '--']\n", "")
