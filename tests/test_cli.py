"""The command ``otel-tts``: help without imports, settings without secrets, generated files without drift."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from otel_tts.cli import SUBCOMMANDS, main
from otel_tts.version import __version__
from tools.documentation import readme
from tools.generate import GENERATED, generate, stale

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> str:
    """What a subcommand that succeeds prints."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_lists_every_subcommand() -> None:
    """``--help`` has each name with its line."""
    output = " ".join(run("--help").split())
    assert all(f"{name} {' '.join(subcommand.summary.split())}" in output for name, subcommand in SUBCOMMANDS.items())


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("otel-tts re", {"requests", "report"}),
        ("otel-tts requests --prob", {"--problem"}),
        ("otel-tts requests --outcome ca", {"cancelled"}),
        ("otel-tts grafana p", {"push"}),
    ],
)
def test_the_tab_key_completes(words: str, completed: set[str]) -> None:
    """Commands, options and their values, as a shell asks for them."""
    asked = {"_OTEL_TTS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    script = "from otel_tts.cli import main; main(prog_name='otel-tts')"
    result = subprocess.run([sys.executable, "-c", script], env=os.environ | asked, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert {line.partition(",")[2] for line in result.stdout.splitlines()} == completed


def test_help_imports_no_subcommand() -> None:
    """``otel-tts --help`` is quick because it loads none of them."""
    script = (
        "import sys; from otel_tts.cli import SUBCOMMANDS, main; main(['--help'], standalone_mode=False);"
        "sys.exit(len({c.target.partition(':')[0] for c in SUBCOMMANDS.values()} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_is_where_the_table_says(name: str) -> None:
    """Each entry leads to a command that explains itself."""
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command is not None
    assert command.help
    assert f"Usage: main {name}" in run(name, "--help")


@pytest.mark.parametrize("arguments", [("rules",), ("grafana", "export", "--out", "x"), ("grafana", "push")])
def test_without_its_extra_a_command_has_help_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Help explains and succeeds; to run it is an error that names the extra."""
    monkeypatch.setattr("importlib.import_module", _missing)
    remedy = f"pip install 'otel-tts[{arguments[0]}]'"
    explained = " ".join(run(*arguments, "--help").split())
    assert SUBCOMMANDS[arguments[0]].summary in explained
    assert remedy in explained
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert remedy in result.output


def _missing(name: str) -> NoReturn:
    raise ModuleNotFoundError("No module named 'yaml'", name="yaml")


def test_version() -> None:
    """``--version`` is the package's."""
    assert run("--version") == f"otel-tts, version {__version__}\n"


def test_config_says_what_is_in_force_and_from_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set shows as such, everything else as a default, OpenTelemetry's own variables too."""
    monkeypatch.setenv("PROMETHEUS_PORT", "9100")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "speech")
    rows = [line.split() for line in run("config").splitlines()]
    assert ["PROMETHEUS_PORT", "9100", "environment"] in rows
    assert ["OTEL_SERVICE_NAME", "speech", "environment"] in rows
    assert ["METRICS_ENABLED", "true", "default"] in rows


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, "nowhere; with `otel-tts run`", "nowhere; with `otel-tts run`"),
        ({"OTEL_TTS_DATA_DIR": "/data"}, "files in /data", "files in /data"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:p@c:4318", "OTEL_METRICS_EXPORTER": "none"},
            "OTLP http/protobuf http://c:4318",
            "nowhere: switched off",
        ),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console", "nowhere; with `otel-tts run`"),
    ],
)
def test_config_says_where_telemetry_goes(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], traces: str, metrics: str
) -> None:
    """As a program that these variables are set for would send it."""
    monkeypatch.delenv("OTEL_TTS_DATA_DIR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    lines = dict(line.split(" go to: ") for line in run("config").splitlines() if " go to: " in line)
    assert lines["traces"].startswith(traces)
    assert lines["metrics"].startswith(metrics)


def test_config_prints_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers, keys and the user part of an address stay unsaid."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:canary@mlflow.example/x")
    output = run("config")
    assert "canary" not in output
    assert "https://mlflow.example/x" in output


def test_a_setting_that_is_not_allowed_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the variable, the value and what is allowed; no traceback."""
    monkeypatch.setenv("PROMETHEUS_PORT", "http")
    result = CliRunner().invoke(main, ["config"])
    assert (result.exit_code, result.output) == (
        1,
        "Error: PROMETHEUS_PORT='http' is not allowed: it takes a port from 0 to 65535.\n",
    )


def test_generated_files_are_not_stale() -> None:
    """The committed files are what ``make generate`` writes."""
    assert stale(ROOT) == []


def test_generate_writes_what_is_stale_and_says_so(tmp_path: Path) -> None:
    """A missing file fails the check by name, is written once, and then passes; of the README, what stands between the marks."""
    marks = "\n".join((readme.PEERS_BEGIN, readme.PEERS_END, readme.BEGIN, readme.END))
    (tmp_path / "README.md").write_text(f"Before.\n{marks}\nAfter.\n")
    failed = CliRunner().invoke(generate, ["--check", "--root", str(tmp_path)])
    assert failed.exit_code == 1
    assert all(name in failed.output for name in GENERATED)
    assert CliRunner().invoke(generate, ["--root", str(tmp_path)]).output.splitlines() == [f"wrote {name}" for name in GENERATED]
    assert "up to date" in CliRunner().invoke(generate, ["--check", "--root", str(tmp_path)]).output
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("Before.", "After.")
    assert any(line.startswith("| Piper |") for line in lines)


def test_only_selected_processes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before the command is the setting of all readers; a name that cannot be selected is a message."""
    monkeypatch.setenv("OTEL_TTS_SELECT", "k8s.cluster.name=us")  # which the command line replaces
    shown = CliRunner().invoke(main, ["--select", "k8s.cluster.name=eu, west", "--select", "service.namespace=a=b", "config"])
    assert shown.exit_code == 0, shown.output
    assert "k8s.cluster.name=eu, west, service.namespace=a=b" in " ".join(shown.output.split())
    refused = CliRunner().invoke(main, ["--select", "host.name=a", "status"])
    assert refused.exit_code == 1
    assert "deployment.environment.name" in refused.output


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_variable_that_nothing_reads_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each command, on standard error, also by those that write rules. Those that set telemetry up say it there."""
    monkeypatch.setenv("OTEL_TTS_SLO_SUCCES", "0.9")
    result = CliRunner().invoke(main, [name, "--help"])
    line = "OTEL_TTS_SLO_SUCCES is set, and otel-tts reads no such variable. The nearest that it reads is OTEL_TTS_SLO_SUCCESS"
    assert (line in result.stderr) == (name not in ("demo", "run", "serve", "config"))
    assert line not in result.stdout
