"""Settings: argument before environment before default, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_tts import Settings
from otel_tts.commands.config import by_section
from otel_tts.commands.config import in_force as listed
from otel_tts.core.prices import Prices
from otel_tts.sdk.exporters import destinations
from otel_tts.settings import (
    HistorySettings,
    Section,
    SettingError,
    boolean,
    count,
    milliseconds,
    port,
    seconds,
    setting,
    size,
    standard,
    text,
)

DEFAULTS = {
    "METRICS_ENABLED": True,
    "PROMETHEUS_PORT": 8002,
    "PROMETHEUS_HOST": "127.0.0.1",
    "OTEL_TTS_DATA_MAX_AGE": 604800.0,
    "OTEL_TTS_DATA_MAX_SIZE": 2**30,
    "OTEL_TTS_CAPTURE_TEXT": False,
    "OTEL_TTS_PRICES": "",
    "OTEL_TTS_DEADLINE_FLOOR": 0.0,
    "OTEL_TTS_CANCELLED_IS_ERROR": False,
    "OTEL_TTS_SHUTDOWN_TIMEOUT": 3.0,
}


def in_force(settings: Section) -> dict[str, tuple[Any, str]]:
    """By variable, the value and where it comes from."""
    return {s.variable.name: (s.value, s.source) for s in settings.in_force()}


def test_defaults() -> None:
    """An empty environment gives the documented defaults; the text is not captured; data goes where the platform keeps it."""
    values = in_force(Settings.load(environ={}))
    assert {name: values[name] for name in DEFAULTS} == {name: (value, "default") for name, value in DEFAULTS.items()}
    data_dir, source = values["OTEL_TTS_DATA_DIR"]
    assert (data_dir.name, data_dir.is_absolute(), source) == ("otel-tts", True, "default")


def test_precedence() -> None:
    """An argument goes before the environment; None is no argument, and an empty variable is not set."""
    environ = {"PROMETHEUS_PORT": "9000", "OTEL_TTS_DATA_MAX_SIZE": "9001", "PROMETHEUS_HOST": " ", "OTEL_TTS_DEADLINE_FLOOR": ""}
    settings = Settings.load(environ, prometheus_port=9100, data_max_size=None)
    values = in_force(settings)
    assert [values[name] for name in ("PROMETHEUS_PORT", "OTEL_TTS_DATA_MAX_SIZE", "PROMETHEUS_HOST", "OTEL_TTS_DEADLINE_FLOOR")] == [
        (9100, "argument"), (9001, "environment"), ("127.0.0.1", "default"), (0.0, "default"),
    ]  # fmt: skip
    assert settings.source("prometheus_port") == "argument"


def test_the_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another one is given."""
    monkeypatch.setenv("OTEL_TTS_CAPTURE_TEXT", "on")
    assert Settings.load().capture_text is True
    assert Settings.load(environ={}).capture_text is False


@pytest.mark.parametrize(
    ("parse", "given", "value"),
    [
        (boolean, "true", True), (boolean, " TRUE ", True), (boolean, "1", True), (boolean, "Yes", True), (boolean, "on", True),
        (boolean, "false", False), (boolean, "0", False), (boolean, "no", False), (boolean, "OFF", False),
        (port, "0", 0), (port, " 65535 ", 65535),
        (count, "1", 1), (count, "007", 7),
        (seconds, "0", 0.0), (seconds, "1.5", 1.5), (seconds, "1e3", 1000.0),
        (milliseconds, "10000", 10.0), (milliseconds, "0.5", 0.0005),
        (size, "1000000", 1_000_000), (size, "500MB", 500_000_000), (size, "500 mb", 500_000_000), (size, "1GiB", 2**30),
        (size, "2k", 2000), (size, "2KiB", 2048), (size, "1T", 10**12), (size, "12B", 12), (size, "0", 0),
        (text, " as it is ", " as it is "),
    ],
)  # fmt: skip
def test_values(parse: Any, given: str, value: Any) -> None:
    """What each kind of value takes."""
    parsed = parse(given)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        (boolean, "maybe"), (boolean, "2"), (boolean, ""),
        (port, "65536"), (port, "-1"), (port, "8002.0"), (port, "http"),
        (count, "0"), (count, "-1"), (count, "1.0"), (count, "many"),
        (seconds, "-0.1"), (seconds, "nan"), (seconds, "inf"), (seconds, "3s"),
        (milliseconds, "0"), (milliseconds, "-1"), (milliseconds, "nan"), (milliseconds, "inf"), (milliseconds, "10s"),
        (size, "-1"), (size, "1.5GB"), (size, "GB"), (size, "1XB"), (size, ""), (size, "1 GB of RAM"),
    ],
)  # fmt: skip
def test_what_is_no_value(parse: Any, given: str) -> None:
    """Each kind refuses what it does not understand, and says what it takes."""
    with pytest.raises(ValueError, match=r"^(true or false|a port|a whole number|a number of (milli)?seconds|a number of bytes)"):
        parse(given)


def test_a_value_that_is_not_allowed() -> None:
    """The error names the variable, the value and what is allowed."""
    with pytest.raises(SettingError, match=r"^PROMETHEUS_PORT='99999' is not allowed: it takes a port from 0 to 65535\.$"):
        Settings.load(environ={"PROMETHEUS_PORT": "99999"})


def test_an_error_shows_no_password() -> None:
    """A value may be an address with its user and password: the message leaves them out."""
    with pytest.raises(SettingError, match=r"^PROMETHEUS_PORT='http://host:1' is not allowed") as raised:
        Settings.load(environ={"PROMETHEUS_PORT": "http://me:secret@host:1"})
    assert "secret" not in str(raised.value)


def test_an_argument_that_is_no_setting() -> None:
    """It is a mistake in code, named."""
    with pytest.raises(TypeError, match=r"^Settings has no setting named promtheus_port\.$"):
        Settings.load(environ={}, promtheus_port=1)


def test_settings_are_frozen_and_equal_by_value() -> None:
    """Parsed once; where a value came from makes no difference."""
    settings = Settings.load(environ={"PROMETHEUS_PORT": "9000"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.prometheus_port = 1  # type: ignore[misc]
    assert settings == Settings.load(environ={}, prometheus_port=9000, data_dir=settings.data_dir)
    assert "_sources" not in repr(settings)


def test_paths_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.load(environ={"OTEL_TTS_DATA_DIR": "~/telemetry"}).data_dir == tmp_path / "telemetry"


def test_a_section_of_ones_own() -> None:
    """The service and other parts declare their settings in the same way; a default may be made when it is needed."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(Section):
        workers: int = setting("OWN_WORKERS", count, 4, "How many.")
        names: list[str] = setting("OWN_NAMES", str.split, list, "Which.")

    own = Own.load(environ={"OWN_NAMES": "a b"})
    assert (own.workers, own.names) == (4, ["a", "b"])
    assert Own.load(environ={}).names is not Own.load(environ={}).names
    assert [s.variable.description for s in own.in_force()] == ["How many.", "Which."]


def test_every_variable_is_documented() -> None:
    """Each has a description for people, and a name of its own."""
    variables = [s.variable for s in Settings.load(environ={}).in_force()]
    assert len({v.name for v in variables}) == len(variables)
    assert [v.name for v in variables if not v.description.endswith((".", "!"))] == []
    assert not any(isinstance(s.value, float) and math.isnan(s.value) for s in Settings.load(environ={}).in_force())


def test_the_emitting_side_carries_nothing_of_the_readers() -> None:
    """No address, token or password of a backend is in the settings of the library; no variable stands in two sections' tables."""
    variables = {s.variable.name for s in Settings.load(environ={}).in_force()}
    assert not {
        name for name in variables if re.search("GRAFANA|TEMPO|OTEL_TTS_PROMETHEUS|COLLECTOR|MLFLOW|DASHBOARD|NOTIFY|SLO", name)
    }
    everything = [s.variable.name for _, settings in by_section({}) for s in settings]
    assert len(set(everything)) == len(everything)
    assert variables < set(everything)


def test_a_section_within_a_section() -> None:
    """Its variables have the server's prefix; arguments name both; errors name the variable."""
    settings = HistorySettings.load({"OTEL_TTS_TEMPO_URL": "http://t", "OTEL_TTS_TEMPO_TIMEOUT": "3"}, prometheus_url="http://p/")
    assert (settings.tempo.url, settings.tempo.timeout, settings.tempo.source("url")) == ("http://t", 3.0, "environment")
    assert (settings.prometheus.url, settings.prometheus.source("url")) == ("http://p/", "argument")
    assert settings.tempo.variable("client_key") == "OTEL_TTS_TEMPO_CLIENT_KEY"
    with pytest.raises(
        SettingError, match=r"^OTEL_TTS_TEMPO_TIMEOUT='soon' is not allowed: it takes a number of seconds above 0 and"
    ):
        HistorySettings.load({"OTEL_TTS_TEMPO_TIMEOUT": "soon"})
    with pytest.raises(TypeError, match="PrometheusServer has no setting named adress"):
        HistorySettings.load({}, prometheus_adress="http://p")


def test_what_nothing_reads_is_said_beside_it() -> None:
    """`otel-tts config` lists a misspelt variable of ours with the nearest that there is, and one of OpenTelemetry's as it is."""
    environ = {"OTEL_TTS_CAPTURE_TXT": "1", "OTEL_TTS_X": "1", "OTEL_PROPAGATORS": "b3"}
    sources = {name: source for name, _, source in listed(environ)}
    assert sources["OTEL_TTS_CAPTURE_TXT"] == "environment, and nothing reads it; the nearest is OTEL_TTS_CAPTURE_TEXT"
    assert sources["OTEL_TTS_X"].startswith("environment, and nothing reads it")
    assert sources["OTEL_PROPAGATORS"] == "environment"


_FAULTY = """
import os, sys, traceback
from otel_tts.cli import main
for name in sys.argv[1:]:
    if os.fork() == 0:  # each imports the SDK for the first time, with its own variable
        os.environ[name] = "abc"
        os.dup2(1, 2)
        try:
            main(["config"], prog_name="otel-tts")
        except SystemExit as end:
            print("ended", name, end.code, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.wait()
"""
_NUMBERS = [name for name in standard.VARIABLES if name.endswith(("_LIMIT", "_SIZE", "_DELAY", "TIMEOUT"))]


def test_no_number_of_opentelemetry_is_a_stack_trace() -> None:
    """`config` says of each number that OpenTelemetry reads, also while its SDK is imported, in one line that it is not allowed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TTS_"))}
    program = [sys.executable, "-c", _FAULTY, *_NUMBERS]
    lines = subprocess.run(program, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(_NUMBERS) > 20
    assert len(lines) == 2 * len(_NUMBERS), lines
    for name, problem, end in zip(_NUMBERS, lines[::2], lines[1::2], strict=True):
        assert problem.startswith(f"Error: {name}='abc' is not allowed: it takes a ")
        assert end == f"ended {name} 1"


def _use(environ: dict[str, str]) -> None:
    standard.check(environ)
    settings = Settings.load(environ)
    destinations("traces", settings, local=False, environ=environ)
    if settings.prices:
        Prices.from_file(settings.prices)


@pytest.mark.parametrize("value", ["x" * 70_000, "ftp://me:secret@" + "h" * 70_000, "x y " * 20_000])
def test_a_long_value_is_cut_in_messages(value: str) -> None:
    """A message about a value that is refused shows at most 200 characters of it, how long it is, and no password."""
    own = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "PROMETHEUS_PORT", "METRICS_ENABLED", "OTEL_TTS_PRICES")
    for name in (*standard.VARIABLES, *own):
        if name == "OTEL_EXPORTER_OTLP_ENDPOINT" or not name.endswith("ENDPOINT"):
            environ = {"OTEL_TRACES_EXPORTER": "otlp", name: value}
            if name.endswith("ENDPOINT"):
                environ[name] = f"ftp://{value}"
            with pytest.raises(SettingError) as refused:
                _use(environ)
            message = str(refused.value)
            assert name in message or name == "OTEL_TTS_PRICES"
            assert len(message) < 1000
            assert "(length " in message
            assert "secret" not in message


IMPORTS = """
import importlib
import otel_tts, otel_tts.errors
from otel_tts import *
for name in ("core", "grpc", "sdk", "settings", "monitor", "testing", "history"):
    importlib.import_module(f"otel_tts.{name}")
try:
    otel_tts.Telemetry()
except otel_tts.errors.SettingError as error:
    print("Telemetry:", error)
try:
    otel_tts.configure(local=True)
except otel_tts.errors.SettingError as error:
    print("configure:", error)
"""
WRONG = {
    "OTEL_TTS_PRICES": "/nope",
    "OTEL_PROPAGATORS": "zz",
    "OTEL_PYTHON_CONTEXT": "zz",
    "OTEL_TTS_STRICT": "zz",
    "METRICS_ENABLED": "zz",
}


@pytest.mark.parametrize("variable", WRONG)
def test_an_import_raises_for_no_variable(variable: str, tmp_path: Path) -> None:
    """A program that only imports goes on; what uses the variable says what is wrong with it."""
    environ = dict(os.environ, OTEL_TTS_DATA_DIR=str(tmp_path)) | {variable: WRONG[variable]}
    run = subprocess.run([sys.executable, "-c", IMPORTS], env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    readers = ["Telemetry"] if variable == "OTEL_TTS_PRICES" else ["Telemetry", "configure"]
    assert [line.split(":")[0] for line in run.stdout.splitlines()] == readers
    assert all(WRONG[variable] in line for line in run.stdout.splitlines())
