"""The distribution: how an unchanged program is set up, by what variables, and what is said when that fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.settings import HistorySettings, Settings

BIN = Path(sys.executable).parent
RUN = [str(BIN / "otel-tts"), "run", "--"]
SPEAK = """
import hibari
engine = hibari.Hibari()
print(len(engine("Hello there.")) > 0)
"""

BY_HAND = """
import otel_tts
with otel_tts.Telemetry().synthesis("Hello.") as s, s.attempt("piper") as attempt:
    attempt.audio(bytes(48_000), otel_tts.PCM16(24_000))
print("here")
"""

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


def start(script: str, *launcher: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with telemetry."""
    return subprocess.run(
        [*(launcher or RUN), sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def spoken() -> list[str | None]:
    """The outcomes that stand in local files."""
    return [request.outcome for request in open_history(HistorySettings.load()).requests()]


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
        (
            "PROMETHEUS_PORT",
            "99999",
            "otel-tts: telemetry is off: PROMETHEUS_PORT='99999' is not allowed: it takes ",
        ),
        (
            "OTEL_TTS_CAPTURE_TEXT",
            "maybe",
            "otel-tts: telemetry is off: OTEL_TTS_CAPTURE_TEXT='maybe' is not allowed: it takes ",
        ),
        (
            "OTEL_TTS_PRICES",
            "nowhere.toml",
            "otel-tts: telemetry is off: OTEL_TTS_PRICES: the price file 'nowhere.toml' cannot be read: ",
        ),
        (
            "OTEL_TTS_GRPC_MAPPING",
            "nowhere.toml",
            "otel-tts: tts_grpc_server is not observed: OTEL_TTS_GRPC_MAPPING: the gRPC mapping 'nowhere.toml' cannot be read: ",
        ),
        (
            "OTEL_PROPAGATORS",
            "tracecontxt",
            "otel-tts: telemetry is off: OTEL_PROPAGATORS='tracecontxt' is not allowed: no installed package provides ",
        ),
        (
            "OTEL_PYTHON_CONTEXT",
            "threads",
            "otel-tts: telemetry is off: OTEL_PYTHON_CONTEXT='threads' is not allowed: no installed package provides ",
        ),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "sometimes",
            "otel-tts: telemetry is off: OTEL_METRICS_EXEMPLAR_FILTER='sometimes' is not allowed: no installed package provides ",
        ),
        (
            "OTEL_CONFIG_FILE",
            "nowhere.yaml",
            "otel-tts: telemetry is off: OTEL_CONFIG_FILE='nowhere.yaml' is not usable: Configuration file not found: ",
        ),
    ],
)
@pytest.mark.parametrize("script", ["print('here')", BY_HAND], ids=["unaware", "by_hand"])
def test_a_mistake_is_one_clear_line(script: str, name: str, value: str, line: str) -> None:
    """And the program runs all the same, whether or not it uses otel-tts itself."""
    run = start(script, **{name: value})
    assert (run.returncode, run.stdout) == (0, "here\n")
    (message,) = run.stderr.splitlines()
    assert message.startswith(line)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("file_format: [", "Failed to parse YAML: while parsing a flow node "),
        ('file_format: "9.9"', "Unsupported file_format '9.9'"),
        (CONFIGURATION.replace("console", "konsole"), "Plugin 'konsole' not found "),
        ("\xff", "UnicodeDecodeError: "),
        ("[" * 5_000, "RecursionError: "),
    ],
)
def test_a_mistake_in_a_configuration_file_is_one_clear_line(tmp_path: Path, content: str, complaint: str) -> None:
    """Without the stack trace of whatever reads it."""
    file = tmp_path / "otel.yaml"
    file.write_text(content, "latin-1")
    run = start("print('here')", OTEL_CONFIG_FILE=str(file))
    assert (run.returncode, run.stdout) == (0, "here\n")
    (message,) = run.stderr.splitlines()
    assert message.startswith(f"otel-tts: telemetry is off: OTEL_CONFIG_FILE={str(file)!r} is not usable: {complaint}")


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


def test_a_misspelt_instrumentation_is_one_line() -> None:
    """The program runs observed, and standard error names the nearest."""
    run = start(SPEAK, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="tts_hibary")
    assert (run.returncode, run.stdout) == (0, "True\n")
    (line,) = run.stderr.splitlines()
    assert line.startswith("otel-tts: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS has 'tts_hibary', ")
    assert line.endswith("The nearest: tts_hibari.")
    assert len(spoken()) == 1


def test_standard_variables_decide_where_telemetry_goes() -> None:
    """Spans to the console, and nothing else anywhere."""
    run = start(SPEAK, OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert '"name": "tts.synthesize"' in run.stdout
    assert run.stderr == ""
    assert not Settings.load().data_dir.exists()


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


# What opentelemetry-distro is: these two classes and these entry points.
RIVAL = """
import os
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator


class OpenTelemetryConfigurator(_OTelSDKConfigurator):
    pass


class OpenTelemetryDistro(BaseDistro):
    def _configure(self, **kwargs):
        for signal in ("TRACES", "METRICS", "LOGS"):
            os.environ.setdefault(f"OTEL_{signal}_EXPORTER", "otlp")
"""
ENTRY_POINTS = """
[opentelemetry_configurator]
configurator = rival:OpenTelemetryConfigurator

[opentelemetry_distro]
distro = rival:OpenTelemetryDistro
"""
PLAIN = str(BIN / "opentelemetry-instrument")


def rival(directory: Path) -> str:
    """A place that has opentelemetry-distro's like."""
    metadata = directory / "opentelemetry_distro-0.66b2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: opentelemetry-distro\nVersion: 0.66b2\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (directory / "rival.py").write_text(RIVAL)
    return str(directory)


def listed(name: str, directory: Path) -> str:
    """A place where Python finds the metadata of what is installed under this name, so that it is listed there first."""
    directory.mkdir()
    (metadata,) = Path(str(distribution(name).locate_file(""))).glob(f"{name.replace('-', '_')}-*.dist-info")
    (directory / metadata.name).symlink_to(metadata)
    return str(directory)


NOT_LOADED = "Configuration of {} not loaded{}\n"  # what OpenTelemetry says of the other one
ASKED_FOR = " because otel_tts is set by OTEL_PYTHON_CONFIGURATOR"


@pytest.mark.parametrize("theirs_first", [True, False])
@pytest.mark.parametrize("launcher", [RUN, ["env", "OTEL_PYTHON_DISTRO=otel_tts", PLAIN]], ids=["run", "asked for"])
def test_next_to_opentelemetry_distro_ours_sets_up_where_it_is_asked_for(
    tmp_path: Path, theirs_first: bool, launcher: list[str]
) -> None:
    """By ``otel-tts run``, or by one variable: distribution and configurator, in whichever order they are listed."""
    path = [rival(tmp_path / "theirs"), listed("otel-tts", tmp_path / "ours")]
    run = start(SPEAK, *launcher, PYTHONPATH=os.pathsep.join(path if theirs_first else path[::-1]))
    message = NOT_LOADED.format("configurator", ASKED_FOR if theirs_first else ", otel_tts already loaded")
    assert (run.stdout, run.stderr) == ("True\n", message)
    assert spoken() == ["ok"]


def test_else_the_one_that_is_listed_first_sets_up(tmp_path: Path) -> None:
    """That is OpenTelemetry's rule for ``opentelemetry-instrument``. Where it is the other one, syntheses are seen all the same."""
    path = [rival(tmp_path / "theirs"), listed("otel-tts", tmp_path / "ours")]
    nowhere = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    run = start(SPEAK, PLAIN, PYTHONPATH=os.pathsep.join(path), **nowhere)
    assert run.stderr == NOT_LOADED.format("otel_tts", ", configurator already loaded")
    assert '"name": "tts.synthesize"' in run.stdout
    run = start(SPEAK, PLAIN, PYTHONPATH=os.pathsep.join(path[::-1]))
    assert run.stderr == NOT_LOADED.format("configurator", ", otel_tts already loaded")
    assert spoken() == ["ok"]


SERVE = """
from concurrent.futures import ThreadPoolExecutor
import grpc, hibari

class Speech(grpc.GenericRpcHandler):
    def service(self, details):
        say = lambda request, context: hibari.Hibari(threads=1)(request.decode()).tobytes()
        return grpc.unary_unary_rpc_method_handler(say)

server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers([Speech()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    channel.unary_unary("/shop.Speech/Say")(b"Hello there.", timeout=30)
server.stop(None).wait(10)
"""


@pytest.mark.parametrize("first", ["otel-tts", "opentelemetry-instrumentation-grpc"])
def test_another_distribution_s_servers_have_one_span_too(tmp_path: Path, first: str) -> None:
    """OpenTelemetry's server instrumentation is loaded there: its span is put right, whichever of both is loaded first."""
    path = os.pathsep.join([rival(tmp_path / "theirs"), listed(first, tmp_path / "first")])
    theirs = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"}
    others = {
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "grpc_client",
    }
    run = start(SERVE, PLAIN, PYTHONPATH=path, OTEL_TRACES_EXPORTER="console", **theirs, **others)
    assert run.returncode == 0, run.stderr
    spans = [json.loads(span) for span in re.findall(r"^\{$.*?^\}$", run.stdout, re.DOTALL | re.MULTILINE)]
    parents = {span["context"]["span_id"]: span["name"] for span in spans}
    assert {(span["name"], span["kind"].partition(".")[2], parents.get(span["parent_id"])) for span in spans} == {
        ("shop.Speech/Say", "SERVER", None),
        ("tts.synthesize", "INTERNAL", "shop.Speech/Say"),
        ("text_to_speech hibari-heart", "INTERNAL", "tts.synthesize"),
    }
    assert len(spans) == 3


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


def test_what_is_abandoned_at_the_end_is_told_too() -> None:
    """A stream that a program leaves just before it ends."""
    run = start("import hibari\nchunks = hibari.Hibari().stream('Hello there. How are you?')\nnext(chunks)\ndel chunks")
    assert (run.returncode, run.stderr) == (0, "")
    assert spoken() == ["cancelled"]


def test_configure_in_code_is_said_to_come_too_late(tmp_path: Path) -> None:
    """The program calls it once: the line says who came first, which of its arguments are lost, and what to do instead."""
    script = "import otel_tts\notel_tts.configure(local=True)\notel_tts.configure(service_name='mine', local=True)"
    run = start(script, OTEL_TTS_DATA_DIR=str(tmp_path), OTEL_SERVICE_NAME="theirs")
    (line,) = run.stderr.splitlines()
    assert line.startswith("otel-tts run or opentelemetry-instrument has set up telemetry before the program began")
    assert "not used: service_name. Set variables instead, such as OTEL_SERVICE_NAME" in line
