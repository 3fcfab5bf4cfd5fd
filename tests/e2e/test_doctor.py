"""`otel-tts doctor` along the real pipeline: whole, and with each hop broken in turn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import pytest
from click.testing import CliRunner

from otel_tts.cli import main
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import MetricsEngine, engine, lacking
from otel_tts.commands.doctor.grafana import DASHBOARDS
from otel_tts.settings import DoctorSettings
from tests.commands.conftest import Served, serving
from tests.commands.grafana_api import PASSWORD, grafana
from tests.e2e.beside import beside
from tests.e2e.stack import Process, Stack, until
from tests.ports import free_port

SEEN = re.compile(r"^(ok|broken|unknown) +(\w+) +(?:[\d.,]+ m?s +)?(.*)$")


@dataclass(frozen=True)
class Report:
    """What was printed: for each hop its state and what is said of it, and the exit code."""

    exit_code: int
    states: dict[str, str]
    messages: dict[str, str]
    announced: str = ""

    @classmethod
    def from_output(cls, exit_code: int, output: str) -> Report:
        """Of the output, whose further lines belong to the hop before them."""
        states: dict[str, str] = {}
        messages: dict[str, str] = {}
        announced = "\n".join(line for line in output.splitlines() if "Waiting up to" in line)
        for line in output.splitlines():
            if "Waiting up to" in line:
                continue
            if match := SEEN.match(line):
                hop = match[2]
                states[hop], messages[hop] = match[1], match[3]
            elif states:  # before the first hop stands what is said of the patience
                messages[hop] += " " + line.strip()
        return cls(exit_code, states, messages, announced)


Examine = Callable[..., Report]


@pytest.fixture(scope="module")
def service(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that exports to the stack."""
    with serving(tmp_path_factory.mktemp("service") / "data", **stack.service_environ) as served:
        yield served


@pytest.fixture
def examine(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Examine]:
    """Runs the command on the stack, with a Grafana that is whole."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("OTEL_TTS_GRAFANA_PASSWORD", PASSWORD)
    monkeypatch.setenv("OTEL_TTS_PROMETHEUS_URL", stack.prometheus)
    monkeypatch.setenv("OTEL_TTS_JAEGER_URL", stack.traces)
    monkeypatch.setenv("OTEL_TTS_COLLECTOR_URL", f"http://127.0.0.1:{stack.ports['health']}")
    with grafana(DASHBOARDS) as url:
        monkeypatch.setenv("OTEL_TTS_GRAFANA_URL", url)

        def run(*options: str, patience: float = 30) -> Report:
            options = ("--target", *options) if len(options) == 1 and not options[0].startswith("-") else options
            result = CliRunner().invoke(main, ["doctor", *options, "--patience", str(patience)])
            assert isinstance(result.exception, SystemExit | None), result.output
            return Report.from_output(result.exit_code, result.output)

        yield run


WHOLE = dict.fromkeys(("service", "Collector", "metrics", "traces", "Grafana"), "ok")


def test_a_whole_pipeline(stack: Stack, service: Served, examine: Examine) -> None:
    """Every hop has a line, in order, with what was seen; the trace that is named is in the backend."""
    report = examine(service.target)
    assert (report.exit_code, report.states) == (0, WHOLE)
    assert list(report.states) == list(WHOLE)
    trace_id = re.search(r"hibari spoke .* of audio, trace ([0-9a-f]{32})", report.messages["service"])
    assert trace_id
    assert len(stack.spans(trace_id[1])) == 3
    assert report.messages["traces"] == "the trace is complete: 3 spans"
    assert report.messages["metrics"] == "tts_synthesis_duration_seconds_count has increased"


def test_several_replicas(stack: Stack, service: Served, tmp_path: Path, examine: Examine) -> None:
    """Whichever of them answers, its request is followed to the end: its count grows, and its spans are there."""
    with serving(tmp_path / "data", **stack.service_environ) as other:
        for targets in ((service.target, other.target), (other.target, service.target)):
            report = examine("--target", f"ipv4:{','.join(targets)}")
            assert report.exit_code == 0, report.messages
            assert set(report.states.values()) == {"ok"}
            assert "has increased" in report.messages["metrics"]


def test_no_service(stack: Stack, examine: Examine) -> None:
    """Nobody answers: what to start is said, and the others are looked at without waiting for what cannot come."""
    target = f"127.0.0.1:{free_port()}"
    report = examine(target)
    assert (report.exit_code, report.states) == (3, {**WHOLE, "service": "broken", "metrics": "unknown", "traces": "unknown"})
    assert report.messages["service"].startswith(f"{target} does not answer (UNAVAILABLE) Start it: `make stack`")
    assert report.messages["metrics"] == f"{stack.prometheus} answers; not checked, since the service is broken"
    assert report.messages["traces"] == f"{stack.traces} answers; not checked, since the service is broken"


@pytest.mark.parametrize(
    ("process", "exit_code", "states"),
    [
        ("prometheus_process", 5, {"metrics": "broken"}),
        ("traces_process", 6, {"traces": "broken"}),
    ],
)
def test_a_part_that_is_stopped(
    process: str, exit_code: int, states: dict[str, str], stack: Stack, service: Served, examine: Examine
) -> None:
    """Its hop is broken, says who does not answer and what to do, and the exit code says which it is; the rest is whole."""
    part: Process = getattr(stack, process)
    part.kill()
    try:
        report = examine(service.target)
    finally:
        part.start()
    assert (report.exit_code, report.states) == (exit_code, {**WHOLE, **states})
    hop = next(iter(states))
    assert re.match(r"http://127.0.0.1:\d+ does not answer Start it: `make stack` or `docker compose up -d", report.messages[hop])


@pytest.fixture
def without_collector(stack: Stack) -> Iterator[None]:
    """The pipeline while its Collector is dead."""
    stack.collector.kill()
    try:
        yield
    finally:
        stack.collector.start()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("by", ["its address", "OpenTelemetry's variable"])
def test_a_dead_collector_that_is_configured(
    by: str, stack: Stack, service: Served, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and nobody waits ten minutes for what cannot arrive. Its address comes from the variable of the services, too."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_grpc)
    if by != "its address":
        monkeypatch.delenv("OTEL_TTS_COLLECTOR_URL")
    report = examine(service.target, patience=600)
    assert (report.exit_code, report.states) == (4, {**WHOLE, "Collector": "broken", "metrics": "unknown", "traces": "unknown"})
    assert re.match(
        rf"http://127.0.0.1:\d+ does not answer, and nothing listens for OTLP at 127.0.0.1:{stack.ports['otlp_grpc']} Start it: `make "
        r"stack` or `docker compose up -d collector`\.",
        report.messages["Collector"],
    )
    for hop in ("metrics", "traces"):
        assert report.messages[hop].endswith("nothing has arrived, and nothing can, since the Collector is broken")


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("options", [("--service", "bookshop"), ("--wait",), ("--trace-id", "0123456789abcdef" * 2), ()])
def test_no_request_is_waited_for_behind_a_dead_collector(
    options: tuple[str, ...], examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the next one nor a trace that may be late can arrive: the Collector is blamed at once, and no service."""
    monkeypatch.setenv("TTS_PORT", str(free_port()))
    report = examine(*options, patience=600)
    assert report.states == {**WHOLE, **dict.fromkeys(("service", "metrics", "traces"), "unknown"), "Collector": "broken"}
    assert (report.exit_code, report.announced) == (4, "")
    if "--trace-id" not in options:
        whose = "bookshop" if "--service" in options else "any service"
        assert f"no request of {whose} is waited for, since none can arrive" in report.messages["service"]


@pytest.mark.usefixtures("without_collector")
def test_a_dead_collector_that_nobody_named(
    stack: Stack, service: Served, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing arrives and nothing answers where a Collector usually is, that is said, and the service is not accused."""
    usual = (free_port(), free_port())
    monkeypatch.setattr("otel_tts.commands.doctor.collector._OTLP_PORTS", usual)
    monkeypatch.setattr("otel_tts.commands.doctor.command._HEALTH_PORT", free_port())
    monkeypatch.delenv("OTEL_TTS_COLLECTOR_URL")
    report = examine(service.target, patience=2)
    assert (report.exit_code, report.states) == (4, {**WHOLE, "Collector": "broken", "metrics": "broken", "traces": "broken"})
    assert list(report.states) == list(WHOLE)
    assert (
        f"nothing listens for OTLP at 127.0.0.1:{usual[0]} or 127.0.0.1:{usual[1]}; no telemetry arrived"
        in report.messages["Collector"]
    )
    for hop in ("metrics", "traces"):
        assert report.messages[hop].endswith("Mend the Collector first: see above.")


@pytest.mark.parametrize("signal", [None, "TRACES", "METRICS"])
def test_a_service_that_needs_no_collector(
    stack: Stack, service: Served, examine: Examine, monkeypatch: pytest.MonkeyPatch, signal: str | None
) -> None:
    """Where telemetry arrives, a Collector is no fault that is not found where one usually is, or where one signal is sent to its store."""
    if signal is not None:
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("otel_tts.commands.doctor.collector._OTLP_PORTS", (free_port(),))
    monkeypatch.setattr("otel_tts.commands.doctor.command._HEALTH_PORT", free_port())
    monkeypatch.delenv("OTEL_TTS_COLLECTOR_URL")
    report = examine(service.target)
    assert (report.exit_code, report.states) == (0, {**WHOLE, "Collector": "unknown"})
    assert report.messages["Collector"].endswith("no Collector is configured; telemetry arrives without one")


def test_nothing_runs(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no store answers no request can be seen: that is said at once, and nobody waits ten minutes."""
    for name in ("PROMETHEUS", "JAEGER"):
        monkeypatch.setenv(f"OTEL_TTS_{name}_URL", f"http://127.0.0.1:{free_port()}")
    for options in (("--wait",), ("--service", "bookshop")):
        report = examine(*options, patience=600)
        assert report.exit_code == 3
        assert "can be seen: the stores of metrics and of traces do not answer" in report.messages["service"]
        assert report.announced == ""
        assert all(f"{' '.join(report.messages[hop].split()[1:4])}" == "does not answer" for hop in ("metrics", "traces"))


def test_a_service_that_exports_elsewhere(stack: Stack, tmp_path: Path, examine: Examine) -> None:
    """All answer and nothing comes: after the patience is over, the variables that decide it are named."""
    with serving(tmp_path / "data") as served:
        report = examine(served.target, patience=2)
    assert (report.exit_code, report.states) == (5, {**WHOLE, "metrics": "broken", "traces": "broken"})
    assert "tts_synthesis_duration_seconds_count did not increase within 2 s" in report.messages["metrics"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in report.messages["metrics"]
    assert re.search(r"after 2 s, trace [0-9a-f]{32} lacks every span", report.messages["traces"])
    assert "TRACES_OTLP_URL" in report.messages["traces"]


def test_a_collector_that_is_sent_nothing(own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no metrics came to the Collector meanwhile, only the service is suspected."""
    monkeypatch.setenv("COLUMNS", "1000")
    with serving(tmp_path / "warm", **own_stack.service_environ):
        until(lambda: own_stack.value("otelcol_receiver_accepted_metric_points_total") > 0, "the Collector counts")
    steady(own_stack)
    options = ["--prometheus-url", own_stack.prometheus, "--jaeger-url", own_stack.traces, "--patience", "2"]
    with serving(tmp_path / "data") as served:
        options += ["--target", served.target, "--collector-url", f"http://127.0.0.1:{own_stack.ports['health']}"]
        result = CliRunner().invoke(main, ["doctor", *options])
    report = Report.from_output(result.exit_code, result.output)
    assert (report.exit_code, report.states["metrics"]) == (5, "broken")
    assert (
        "The Collector received no metrics in that time: does the service export to it (OTEL_EXPORTER_OTLP_ENDPOINT)"
        in report.messages["metrics"]
    )


def steady(stack: Stack) -> None:
    """Wait until Prometheus has been told twice by the Collector that it was sent nothing more."""
    seen: list[tuple[float, float]] = []

    def same() -> bool:
        now = (stack.value("otelcol_receiver_accepted_metric_points_total"), stack.value("otelcol_process_uptime_seconds_total"))
        if not seen or now[0] != seen[0][0]:
            seen[:] = [now]
        return now[1] > seen[0][1] + 1

    until(same, "the Collector at rest")


def test_a_service_that_samples(stack: Stack, tmp_path: Path, examine: Examine) -> None:
    """Metrics count it all the same; that its spans were left out is no fault, and is said."""
    with serving(tmp_path / "data", **stack.service_environ, OTEL_TRACES_SAMPLER="always_off") as served:
        report = examine(served.target)
    assert (report.exit_code, report.states) == (0, {**WHOLE, "traces": "unknown"})
    assert "OTEL_TRACES_SAMPLER" in report.messages["traces"]


def test_something_else_on_the_port(stack: Stack, examine: Examine) -> None:
    """An HTTP server where the service should be, and one where Prometheus should be, are told from them."""
    report = examine(stack.prometheus.partition("//")[2])
    assert report.exit_code == 3
    assert report.states["service"] == "broken"


def test_the_option_counts_more_than_the_other_backend_s_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a Jaeger means it, whatever Tempo the environment has; and the other way round."""
    nowhere = "http://127.0.0.1:9"
    for option, variable in (("--jaeger-url", "OTEL_TTS_TEMPO_URL"), ("--tempo-url", "OTEL_TTS_JAEGER_URL")):
        monkeypatch.setenv(variable, "http://elsewhere.example")
        options = ["--target", "127.0.0.1:9", "--collector-url", nowhere, "--prometheus-url", nowhere, "--grafana-url", nowhere]
        result = CliRunner().invoke(main, ["doctor", *options, option, nowhere])
        assert result.exit_code == 3, result.output
        assert "elsewhere.example" not in result.output
        monkeypatch.delenv(variable)


APPLICATION = """
import sys, time
import otel_tts
from otel_tts import PCM16
pipeline = otel_tts.configure(service_name=sys.argv[1])
tts = otel_tts.Telemetry()
traces = []
for line in sys.stdin:
    with tts.synthesis("hello") as synthesis, synthesis.attempt("acme") as attempt:
        attempt.audio(bytes(32000), PCM16(16000))
    pipeline.flush()
    print(synthesis.trace_id, flush=True)
pipeline.shutdown()
"""


@contextmanager
def application(name: str, **environ: str) -> Iterator[Callable[[], str]]:
    """A service that is not ours, without any RPC; calling it makes a request and gives its trace id."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    def speak() -> str:
        stdin.write("speak\n")
        stdin.flush()
        return stdout.readline().strip()

    try:
        yield speak
    finally:
        stdin.close()
        assert process.wait(60) == 0
        stdout.close()


def test_a_request_that_was_made_already(stack: Stack, examine: Examine) -> None:
    """Of any service, by its trace id: its points and its spans are looked for, and none is sent."""
    with application("bookshop", **stack.service_environ) as speak:
        trace_id = speak()
        report = examine("--trace-id", trace_id)
        speak()
    assert (report.exit_code, report.states) == (0, WHOLE)
    assert re.fullmatch(rf"bookshop spoke at .*: ok by acme, 1\.00 s of audio, trace {trace_id}", report.messages["service"])
    assert report.messages["traces"] == "the trace is complete: 2 spans"
    assert report.messages["metrics"] == (
        "tts_synthesis_duration_seconds_count of bookshop with the outcome ok has increased to 1 since then"
    )


@pytest.mark.parametrize("options", [("--wait",), ("--service", "library")])
def test_the_next_request(options: tuple[str, ...], stack: Stack, examine: Examine) -> None:
    """It is waited for; one that was made before is not it."""
    with application("library", **stack.service_environ) as speak:
        earlier = speak()
        until(lambda: stack.spans(earlier), "the earlier request is there")
        with ThreadPoolExecutor() as beside:
            report = beside.submit(examine, *options)
            while not report.done():
                speak()
                sleep(0.3)
    assert (report.result().exit_code, report.result().states) == (0, WHOLE)
    assert earlier not in report.result().messages["service"]


def test_no_next_request(examine: Examine) -> None:
    """When the time is over it is said what was waited for, and what to do; the exit code says that nothing was seen."""
    report = examine("--service", "nobody", patience=1)
    assert (report.exit_code, report.states) == (3, {**WHOLE, "service": "broken", "metrics": "unknown", "traces": "unknown"})
    assert report.messages["service"].startswith(
        "no request of nobody arrived within 1 s, neither as a point nor as a span Was one made?"
    )


WITHOUT_SERVICE = """
import sys
sys.modules |= dict.fromkeys(["cachetools", "grpc_health", "grpc_reflection", "httpx", "soundfile", "soxr"])
from otel_tts.cli import main
main()
"""


@pytest.mark.usefixtures("examine")
def test_a_request_is_followed_without_the_extra_of_the_service(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the extra `service` brings is needed only to send a request; who asks for that is told what to install."""
    with application("bookshop", **stack.service_environ) as speak:
        followed = _without_service("--trace-id", speak())
    assert (followed.exit_code, followed.states) == (0, WHOLE)
    sent = _without_service("--target", "127.0.0.1:1")
    assert (sent.exit_code, sent.states["service"]) == (3, "broken")
    assert "pip install 'otel-tts[service]'" in sent.messages["service"]
    for backend in ("PROMETHEUS", "JAEGER"):
        monkeypatch.setenv(f"OTEL_TTS_{backend}_URL", "http://127.0.0.1:1")
    waited = _without_service("--patience", "1")
    assert (waited.exit_code, waited.states["service"]) == (3, "broken")
    assert "no request of any service can be seen" in waited.messages["service"]


def _without_service(*options: str) -> Report:
    command = [sys.executable, "-c", WITHOUT_SERVICE, "doctor", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return Report.from_output(run.returncode, run.stdout)


def test_a_trace_that_did_not_arrive(stack: Stack, examine: Examine) -> None:
    """Nothing is made up of it: the service is not known, and the hop of the traces is broken."""
    report = examine("--trace-id", "0123456789abcdef" * 2, patience=1)
    assert (report.exit_code, report.states) == (6, {**WHOLE, "service": "unknown", "metrics": "unknown", "traces": "broken"})
    assert f"lacks every span at {stack.traces}" in report.messages["traces"]


def test_points_that_did_not_arrive(stack: Stack, examine: Examine) -> None:
    """A service whose spans come and whose points do not: what was counted for others meanwhile is no proof."""
    with application("mute", **{**stack.service_environ, "METRICS_ENABLED": "false"}) as mute:
        trace_id = mute()
        with application("bookshop", **stack.service_environ) as speak:
            speak()
            report = examine("--trace-id", trace_id, patience=3)
    assert (report.exit_code, report.states) == (5, {**WHOLE, "metrics": "broken"})
    assert "of mute with the outcome ok did not increase from" in report.messages["metrics"]
    assert "At that time it counted for: " in report.messages["metrics"]
    assert "bookshop" in report.messages["metrics"]


def test_where_there_is_no_reference_service_the_next_request_is_waited_for(
    stack: Stack, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word of which request to follow: a sentence says what to do and how long there is."""
    monkeypatch.setenv("TTS_PORT", str(free_port()))
    with application("library", **stack.service_environ) as speak, ThreadPoolExecutor() as beside:
        report = beside.submit(examine)
        while not report.done():
            speak()
            sleep(0.3)
    assert (report.result().exit_code, report.result().states) == (0, WHOLE)
    assert "Waiting up to 30 s for the next request of any service. Make one now." in report.result().announced


@pytest.mark.parametrize(
    "options",
    [["--trace-id", "xyz"], ["--trace-id", "abc"], ["--target", "x:1", "--wait"], ["--trace-id", "0" * 32, "--service", "a"]],
)
def test_what_cannot_be_followed_is_refused(options: list[str]) -> None:
    """A trace id that is none, and two requests at once."""
    result = CliRunner().invoke(main, ["doctor", *options])
    assert result.exit_code == 2
    assert "Error: " in result.output


def test_the_engine_is_known_and_lacks_nothing(stack: Stack) -> None:
    """With the flags and the configuration that are here, whether or not a service says its version."""
    assert beside("verdicts", stack.service_environ, "without-version").wait(60) == 0
    server = Server(DoctorSettings.load({"OTEL_TTS_PROMETHEUS_URL": stack.prometheus}).prometheus, "")
    assert engine(server) is MetricsEngine.PROMETHEUS
    assert lacking(server) == []
