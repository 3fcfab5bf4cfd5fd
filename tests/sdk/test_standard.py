"""Wrong values of every variable: one line that names the variable, the value and what is allowed, or none needed; never a stack trace."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_tts.commands.config import config, sections
from otel_tts.core.prices import Prices
from otel_tts.files import SIGNALS
from otel_tts.instrumentation import protos
from otel_tts.sdk.exporters import destinations
from otel_tts.settings import SettingError, Settings, misspelt, plugins, standard, values

ROOT = Path(__file__).parents[2]
WRONG = [
    "abc", "-5", "0", "99999999999999999999", "1e400", "nan", "http://[::1", "http://127.0.0.1:99999", "127.0.0.1:4317", "//", "=,=",
    "[]{}", "\x01\x02", "é\udcff", "true false", "/nonexistent/\x7f/x", " ", "🔊" * 200,
]  # fmt: skip


def refusal(read: Callable[[], object]) -> str:
    """What is said of a value; empty when it is taken."""
    try:
        read()
    except SettingError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", WRONG)
def test_every_variable_is_read_or_refused_in_one_line(value: str, record_property: Callable[[str, object], None]) -> None:
    """All settings of all parts."""
    refused = 0
    for section in sections():
        record_property("hostile inputs: configuration", len(list(section.all_variables())))
        for variable in section.all_variables():
            if refused_because := refusal(lambda: section.load({variable.name: value})):  # noqa: B023 - called at once
                refused += 1
                assert refused_because.startswith(variable.name)
                assert "it takes" in refused_because
                assert "\n" not in refused_because
    assert refused > 10 or not value.strip()


SIGNAL_PREFIXES = ("", "TRACES_", "METRICS_", "LOGS_")
CHOSEN = (
    *(f"OTEL_{signal}_EXPORTER" for signal in ("TRACES", "METRICS", "LOGS")),
    *(f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL" for signal in SIGNAL_PREFIXES),
)
"""What decides where telemetry goes."""
ANY_TEXT = (
    "OTEL_SERVICE_NAME", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
)  # fmt: skip
"""What the SDK takes in any form: an unknown value is its default."""


def clean_environ() -> dict[str, str]:
    """The variables of this process without those that are tried."""
    return {key: text for key, text in os.environ.items() if not key.startswith(("OTEL_", "PROMETHEUS_"))}


def start(environ: dict[str, str]) -> None:
    """What a start checks before anything runs."""
    standard.check(environ)
    for signal in SIGNALS:
        destinations(signal, Settings.load({}), local=False, environ=environ)


@pytest.mark.parametrize("value", WRONG)
def test_opentelemetry_s_variables_are_refused_in_one_line(value: str, record_property: Callable[[str, object], None]) -> None:
    """What neither the SDK nor an exporter could use, of every variable."""
    record_property("hostile inputs: configuration", len(standard.VARIABLES) + len(CHOSEN))
    for name in (*standard.VARIABLES, *CHOSEN):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", name: value}
        refused_because = refusal(lambda: start(environ))  # noqa: B023 - called at once
        assert refused_because or name not in CHOSEN or value == " "
        if refused_because:
            assert refused_because.startswith(f"{name}=")
            assert "it takes" in refused_because.lower()
            assert refused_because.isprintable()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-5"}, "OTEL_BSP_MAX_QUEUE_SIZE='-5' is not allowed: it takes a whole number from 1"),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "abc"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT='abc' is not allowed: it takes a whole"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "it takes an address such as http://127.0.0.1:4318"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:99999"}, "it takes an address"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "127.0.0.1:4318"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='127.0.0.1:4318'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@[::1"}, "is not allowed"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"}, "it takes the path of a file that can be read"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "65"}, "no more than OTEL_BSP_MAX_QUEUE_SIZE, which is 64"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"}, "it takes a share from 0 to 1"),
        ({"OTEL_PROPAGATORS": "tracecontext,b4"}, "no installed package provides 'b4'. It takes baggage, tracecontext; or unset it."),
        ({"OTEL_TRACES_SAMPLER": "bogus"}, "OTEL_TRACES_SAMPLER='bogus' is not allowed: no installed package provides 'bogus'. It takes"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=voice,foo"}, "it takes pairs such as deployment.environment.name=prod,team=voice"),
        ({"OTEL_PROPAGATORS": " "}, "OTEL_PROPAGATORS=' ' is not allowed: no installed package provides ''."),
        ({"OTEL_PYTHON_CONTEXT": "threads"}, "It takes contextvars_context; or unset it."),
        ({"OTEL_PYTHON_TRACER_PROVIDER": "mine"}, "no installed package provides 'mine'."),
        ({"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "os,moon"}, "no installed package provides 'moon'."),
        ({"OTEL_METRICS_EXEMPLAR_FILTER": "Always_On"}, "It takes always_off, always_on, trace_based; or unset it."),
    ],
)  # fmt: skip
def test_what_is_said(environ: dict[str, str], message: str) -> None:
    """The variable, the value without secrets, and what it takes."""
    with pytest.raises(SettingError, match=re.escape(message)) as refusal:
        standard.check(environ)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:pw@collector.example:4318/base"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "unix:///var/run/otel.sock", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4318/v1/traces"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"},
        {"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_RESOURCE_ATTRIBUTES": "team=voice, a=b=c,empty=,"},
        {"OTEL_TRACES_SAMPLER": "TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.5", "OTEL_RESOURCE_ATTRIBUTES": " "},
        {"OTEL_PROPAGATORS": "tracecontext, None,what comes after counts no more", "OTEL_PYTHON_CONTEXT": ""},
        {"OTEL_PROPAGATORS": "", "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel, *,", "OTEL_METRICS_EXEMPLAR_FILTER": "always_on"},
    ],
)
def test_what_can_be_used_passes(environ: dict[str, str]) -> None:
    """Nothing that worked is refused."""
    standard.check(environ)


@pytest.fixture
def _without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom the system knows nothing, as in many containers."""

    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.usefixtures("_without_home")
def test_a_home_directory_is_asked_for_where_a_path_names_it() -> None:
    """Every path of every part: others are taken as they are, and one with a ~ is a sentence with its variable."""
    variables = [(section, v) for section in sections() for v in section.all_variables() if v.parse is values.path]
    assert len(variables) > 10
    for section, variable in variables:
        for given in ("/x/y", "x", "x/~", "/~y"):
            assert refusal(lambda: section.load({variable.name: given})) == ""  # noqa: B023 - called at once
            assert values.path(given) == Path(given)
        for given in ("~", "~/x", "~nobody-of-that-name/x"):
            refused = refusal(lambda: section.load({variable.name: given}))  # noqa: B023 - called at once
            assert refused.startswith(f"{variable.name}=")
            assert "no home directory" in refused


@pytest.mark.usefixtures("_without_home")
@pytest.mark.parametrize("read", [Prices.from_file, lambda path: protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": path}))])
def test_files_below_a_home_that_is_not_there_are_refused_in_one_line(read: Callable[[str], object]) -> None:
    """Prices and mappings: as a file that is not there."""
    for given in ("~/x", "~nobody-of-that-name/x", "/nowhere/x"):
        message = refusal(lambda: read(given))  # noqa: B023
        assert re.fullmatch(rf"OTEL_TTS_\w+: the (price file|gRPC mapping) '{given}' cannot be read: .+\.", message)


GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
SMALL_QUEUE = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}
LIMITS: list[tuple[dict[str, str], str, list[str], list[str]]] = [
    ({}, "OTEL_*_LIMIT", ["0", "1", " 7 ", "2147483647"], [" ", "-1", "1.5", "2147483648", "1e3"]),
    (SMALL_QUEUE, "OTEL_B*_MAX_QUEUE_SIZE", ["1", "2147483647"], [" ", "0", "-1", "1.5", "2147483648"]),
    ({}, "OTEL_B*_MAX_EXPORT_BATCH_SIZE", ["1", "2147483647"], [" ", "0", "-1", "1.5", "2147483648"]),
    ({}, "OTEL_B*_SCHEDULE_DELAY", ["0.5", "1000000000"], [" ", "0", "-1", "1000000001", "inf"]),
    ({}, "OTEL_*_EXPORT_TIMEOUT", ["0.5", "1000000000"], [" ", "0", "-1", "1000000001", "inf"]),
    ({}, "OTEL_EXPORTER_OTLP_*TIMEOUT", ["0.5", "1000000000"], [" ", "0", "-1", "1000000001", "inf"]),
    (SAMPLED, "OTEL_TRACES_SAMPLER_ARG", ["0", "0.5", "1"], [" ", "-0.1", "1.1", "all"]),
    ({}, "OTEL_EXPORTER_OTLP_*COMPRESSION", ["none", "gzip", "deflate", " GZIP"], [" ", "zip", "br", "gzip,none"]),
    ({}, "OTEL_EXPORTER_OTLP_*CERTIFICATE", [__file__], [" ", "/nowhere.pem", "/", "\0"]),
    ({}, "OTEL_EXPORTER_OTLP_*CLIENT_KEY", [__file__], [" ", "/nowhere.pem", "/", "\0"]),
    ({}, "OTEL_RESOURCE_ATTRIBUTES", ["a=b", "a=b,c=", ",a=b=c,"], ["a", "a=b,c", "=b"]),
    ({}, "OTEL_EXPORTER_OTLP_*ENDPOINT", ["http://h", "HTTPS://[::1]:65535/x"],
     [" ", "h:4318", "ftp://h", "http://", "http://h:0", "http://h:65536", "http://h:x", "http://a b", "http://[::1", "http://h\x07"]),
    (GRPC, "OTEL_EXPORTER_OTLP_*ENDPOINT", ["h", "h:4317", "https://h:65535", "unix:///s", "dns:///h:1"],
     [" ", "ftp://h", "http://", "h:0", "h:65536", "h:x", "a b", "[::1", "h\x07"]),
]  # fmt: skip
"""What decides how a variable is read, its name, and what of its kind is still taken, and what not any more."""


@pytest.mark.parametrize(("environ", "pattern", "taken", "refused"), LIMITS, ids=[case[1] for case in LIMITS])
def test_the_limits_of_each_kind(
    environ: dict[str, str], pattern: str, taken: list[str], refused: list[str], record_property: Callable[[str, object], None]
) -> None:
    """The first value that cannot be used is refused, the last one that can is taken; each variable belongs to one kind."""
    names = [name for name in (*standard.VARIABLES, "OTEL_TRACES_SAMPLER_ARG") if fnmatch(name, pattern)]
    assert names
    record_property("hostile inputs: configuration", len(names) * len(refused))
    for name in names:
        for value in taken:
            assert refusal(lambda: standard.check({**environ, name: value})) == ""  # noqa: B023 - called at once
        for value in refused:
            assert refusal(lambda: standard.check({**environ, name: value})).startswith(f"{name}="), value  # noqa: B023 - as above


def test_each_checked_variable_has_its_limits_tried() -> None:
    """What names an installed part is tried by itself: it takes what is installed."""
    tried = {name for name in standard.VARIABLES for _, pattern, _, _ in LIMITS if fnmatch(name, pattern)}
    assert set(standard.VARIABLES) - tried == set(plugins.VARIABLES)


PROGRAM = """
from otel_tts.settings import SettingError
try:
    from otel_tts import Telemetry, configure
    from otel_tts.grpc import server_interceptor
    configure()
except SettingError as error:
    print(error)
else:
    with Telemetry().synthesis("Hi."):
        pass
"""
STARTS = """
import os, socket, sys, traceback
import grpc, requests
import opentelemetry.exporter.otlp.proto.grpc.metric_exporter, opentelemetry.exporter.otlp.proto.http.metric_exporter
import otel_tts.sdk.direct.senders, otel_tts.sdk.providers
from otel_tts import Telemetry, configure

held = socket.socket()
held.bind(("127.0.0.1", 0))  # a port that nobody listens on
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{held.getsockname()[1]}"
for name, value in eval(sys.stdin.read()):
    if os.fork():
        if os.waitstatus_to_exitcode(os.wait()[1]):
            print("Traceback of", ascii((name, value)), flush=True)
        continue
    os.environ[name] = value
    status = 1
    try:
        pipeline = configure()
        with Telemetry().synthesis("Hi."):
            pass
        pipeline.shutdown()
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_start_with_what_is_taken(tmp_path: Path, protocol: str, record_property: Callable[[str, object], None]) -> None:
    """A start, a request and an end with each value that is not refused: no stack trace, neither then nor from an export."""
    address = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    names = (*standard.VARIABLES, *CHOSEN)
    cases = [(name, value) for name in names for value in WRONG if not refusal(lambda: start({**address, name: value}))]  # noqa: B023
    cases += [(name, value) for name in ANY_TEXT for value in WRONG[::3]]
    record_property("hostile inputs: configuration", len(cases))
    environ = clean_environ()
    environ |= {"OTEL_TTS_DATA_DIR": str(tmp_path), "OTEL_TTS_SHUTDOWN_TIMEOUT": "0.05", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    run = [sys.executable, "-c", STARTS]
    process = subprocess.run(run, input=ascii(cases), env=environ, stdout=-1, stderr=-2, text=True, timeout=300, check=True)
    assert "Traceback" not in process.stdout, process.stdout


TRIED = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", "-5"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:99999"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "99999999999999999999"), ("OTEL_BSP_SCHEDULE_DELAY", "1e30"), ("OTEL_TRACES_EXPORTER", "=,="),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"), ("PROMETHEUS_HOST", "x" * 300), ("OTEL_RESOURCE_ATTRIBUTES", "=,="),
    ("OTEL_PROPAGATORS", "b4"), ("OTEL_PYTHON_CONTEXT", "threads"), ("OTEL_PYTHON_METER_PROVIDER", ""),
    ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "moon"), ("OTEL_METRICS_EXEMPLAR_FILTER", ""),
]  # fmt: skip


def test_a_program_says_one_line(tmp_path: Path) -> None:
    """From its start to its end, with the SDK's own reading of the environment: no stack trace anywhere."""
    processes = []
    for name, value in TRIED:
        environ = clean_environ()
        environ |= {"OTEL_TTS_DATA_DIR": str(tmp_path), "OTEL_TTS_SHUTDOWN_TIMEOUT": "1", "PROMETHEUS_PORT": "0", name: value}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM], env=environ, stdout=-1, stderr=-2, text=True))
    for (name, value), process in zip(TRIED, processes, strict=True):
        output = process.communicate(timeout=60)[0]
        assert "Traceback" not in output, (name, value, output)
        assert process.returncode == 0


def test_each_documented_variable_is_checked_or_takes_any_text() -> None:
    """Of those that docs/configuration.md names, what the SDK reads by itself and takes in any form is listed here."""
    documented = set(re.findall(r"`(OTEL_(?!TTS_)[A-Z_]+)`", (ROOT / "docs/configuration.md").read_text()))
    ours = {variable.name for section in sections() for variable in section.all_variables()}
    assert documented - ours - {*standard.VARIABLES, *CHOSEN, *ANY_TEXT} == {
        "OTEL_TRACES_SAMPLER_ARG"
    }  # where a sampler takes one


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("OTEL_TTS_CAPTURE_TXT", "OTEL_TTS_CAPTURE_TEXT"),
        ("OTEL_TTS_DATADIR", "OTEL_TTS_DATA_DIR"),
        ("OTEL_TTS_PRICE", "OTEL_TTS_PRICES"),
        ("OTEL_TTS_PROMETHEUS_URI", "OTEL_TTS_PROMETHEUS_URL"),
        ("OTEL_TTS_\x1b[31mQ\udcff", None),
    ],
)
def test_a_misspelt_variable_is_said_once(caplog: pytest.LogCaptureFixture, name: str, nearest: str | None) -> None:
    """One line with its name and that of the nearest one, and never its value."""
    misspelt.warn({name: "secret", "OTEL_TTS_PRICES": "", "OTEL_SERVICE_NAME": "x", "TTS_PORT": "1"})
    (record,) = caplog.records
    assert ascii(name)[1:-1] in record.getMessage()
    assert (f"The nearest that it reads is {nearest}." in record.getMessage()) is bool(nearest)
    assert "secret" not in record.getMessage()
    assert record.getMessage().isprintable()


def test_a_program_that_starts_says_it(tmp_path: Path) -> None:
    """`configure()` warns of it, once."""
    environ = {**clean_environ(), "OTEL_TTS_CAPTURE_TXT": "secret", "OTEL_TTS_DATA_DIR": str(tmp_path)}
    run = [sys.executable, "-c", "import otel_tts; otel_tts.configure(local=True).shutdown()"]
    ended = subprocess.run(run, env=environ, capture_output=True, text=True, timeout=300, check=True)
    assert ended.stderr.count("OTEL_TTS_CAPTURE_TXT") == 1
    assert "secret" not in ended.stderr


def test_no_variable_of_ours_is_misspelt() -> None:
    """Each that any part reads, or that a page names, exists: none is warned of."""
    names = {variable.name for section in sections() for variable in section.all_variables()}
    documented = set(re.findall(r"OTEL_TTS_[A-Z0-9_]+[A-Z0-9]", (ROOT / "docs/configuration.md").read_text()))
    assert list(misspelt.misspelt(dict.fromkeys(names | documented, ""))) == []


def test_the_interval_is_shown_in_its_own_unit() -> None:
    """Milliseconds, as the variable takes them and as its documentation says."""
    shown = CliRunner().invoke(config, [], env={"OTEL_METRIC_EXPORT_INTERVAL": "2500"}).output
    assert re.search(r"^OTEL_METRIC_EXPORT_INTERVAL +2500 +environment$", shown, re.MULTILINE)
    shown = CliRunner().invoke(config, [], env={"OTEL_METRIC_EXPORT_INTERVAL": ""}).output
    assert re.search(r"^OTEL_METRIC_EXPORT_INTERVAL +10000 +default$", shown, re.MULTILINE)
    assert "| `OTEL_METRIC_EXPORT_INTERVAL` | `10000` | Milliseconds" in (ROOT / "docs" / "configuration.md").read_text()
