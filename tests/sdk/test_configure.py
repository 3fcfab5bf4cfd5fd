"""configure(): where telemetry goes, what a host keeps, and what is refused."""

from __future__ import annotations

import errno
import gzip
import os
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tts import files
from otel_tts.sdk.refusals import remedy as remedy_for
from tests.sdk.test_outages import receiving, reserved

RECORD = """
import logging, os, sys, urllib.request
import otel_tts
from opentelemetry import _logs, metrics, trace

def record(name):
    with trace.get_tracer("test").start_as_current_span(name):
        metrics.get_meter("test").create_counter("test.requests").add(1)
        logging.getLogger("test").warning("%s happened", name)

def scrape(pipeline):
    return urllib.request.urlopen(f"http://127.0.0.1:{pipeline.prometheus_port}/metrics").read().decode()
"""


class Receiver:
    """A real OTLP/HTTP endpoint: keeps what it receives, by path."""

    def __init__(self) -> None:
        received: defaultdict[str, list[bytes]] = defaultdict(list)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received[self.path].append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self._received = received
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def spans(self) -> list[Any]:
        """Pairs of the resource's attributes and the span's name."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self._received["/v1/traces"]]
        return [
            ({a.key: a.value.string_value for a in resource.resource.attributes}, span.name)
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> set[str]:
        """The names of all metrics."""
        return {
            m.name
            for r in self.metric_requests()
            for resource in r.resource_metrics
            for scope in resource.scope_metrics
            for m in scope.metrics
        }

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """What was sent of metrics."""
        return [ExportMetricsServiceRequest.FromString(body) for body in self._received["/v1/metrics"]]

    def logs(self) -> list[str]:
        """The bodies of all log records."""
        requests = [ExportLogsServiceRequest.FromString(body) for body in self._received["/v1/logs"]]
        return [
            log.body.string_value
            for request in requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for log in scope.log_records
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP endpoint."""
    receiver = Receiver()
    yield receiver
    receiver.close()


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RECORD + script]
    environment = {key: value for key, value in os.environ.items() if key != "OTEL_TTS_DATA_DIR"}
    return subprocess.run(command, env=environment | environ, capture_output=True, text=True, timeout=60, check=False)


def test_all_signals_go_to_the_otlp_endpoint(receiver: Receiver, tmp_path: Path) -> None:
    """With an OTLP endpoint everything goes there, and no file is written, wherever it would be."""
    process = run(
        "pipeline = otel_tts.configure(local=True)\nrecord('a')\nprint(*pipeline.describe(), pipeline.data_dir, sep='\\n')",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_TTS_DATA_DIR=str(tmp_path),
    )
    assert process.stdout.splitlines() == [
        f"traces: OTLP http/protobuf {receiver.endpoint}",
        f"metrics: OTLP http/protobuf {receiver.endpoint}",
        f"logs: OTLP http/protobuf {receiver.endpoint}",
        "None",
    ]
    assert [name for _, name in receiver.spans()] == ["a"]
    assert receiver.metrics() == {"test.requests"}
    assert receiver.logs() == ["a happened"]
    assert list(tmp_path.iterdir()) == []


def test_children_do_not_share_their_parents_connection(receiver: Receiver) -> None:
    """A parent that has exported over a connection kept alive forks: parent and children all get through."""
    process = run(
        """
pipeline = otel_tts.configure(service_name="forks")
record("parent")
assert pipeline.flush()
children = []
for number in range(3):
    if (child := os.fork()) == 0:
        record(f"child {number}")
        os._exit(not pipeline.shutdown())
    children.append(child)
record("parent again")
print([os.waitpid(child, 0)[1] for child in children])
""",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
    )
    assert process.stdout == "[0, 0, 0]\n", process.stderr
    assert sorted(name for _, name in receiver.spans()) == ["child 0", "child 1", "child 2", "parent", "parent again"]
    instances = defaultdict(set)
    for resource, name in receiver.spans():
        assert resource["service.name"] == "forks"
        instances[resource["service.instance.id"]].add(name.split()[0])
    assert sorted(map(sorted, instances.values())) == [["child"]] * 3 + [["parent"]]


@pytest.mark.parametrize(
    ("environ", "described"),
    [
        ({}, ["traces: nowhere", "metrics: nowhere", "logs: nowhere"]),
        ({"OTEL_TTS_DATA_DIR": "DATA"}, ["traces: files in DATA", "metrics: files in DATA", "logs: files in DATA"]),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://me:secret@127.0.0.1:4317", "OTEL_TTS_DATA_DIR": "DATA"},
            ["traces: OTLP grpc http://127.0.0.1:4317", "metrics: files in DATA", "logs: files in DATA"],
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_TRACES_EXPORTER": "console,otlp",
            },
            [
                "traces: console; OTLP http/protobuf http://127.0.0.1:9",
                "metrics: OTLP grpc http://127.0.0.1:9",
                "logs: nowhere",
            ],
        ),
        (
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "otlp_json_file", "METRICS_ENABLED": "false"},
            ["traces: nowhere", "metrics: switched off by METRICS_ENABLED", "logs: nowhere"],
        ),
    ],
    ids=["nothing", "files", "one signal", "all kinds", "off"],
)
def test_the_environment_says_where_signals_go(environ: dict[str, str], described: list[str], tmp_path: Path) -> None:
    """Exporters named, else OTLP where there is an endpoint, else files where they are wanted, else nowhere: signal by signal."""
    data = str(tmp_path)
    environ = {key: value.replace("DATA", data) for key, value in environ.items()}
    process = run("print(*otel_tts.configure().describe(), sep='\\n'); os._exit(0)", **environ)
    assert process.stdout.splitlines() == [line.replace("DATA", data) for line in described], process.stderr


def test_installed_exporters_can_be_named(tmp_path: Path) -> None:
    """Exporters and readers of other packages are found by their entry points, as everywhere in OpenTelemetry."""
    (tmp_path / "other-1.0.dist-info").mkdir()
    (tmp_path / "other-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (tmp_path / "other-1.0.dist-info" / "entry_points.txt").write_text(
        "[opentelemetry_traces_exporter]\nother = opentelemetry.sdk.trace.export:ConsoleSpanExporter\n"
        "[opentelemetry_metrics_exporter]\nother = opentelemetry.sdk.metrics.export:InMemoryMetricReader\n"
    )
    process = run(
        "print(otel_tts.configure(local=False).describe())\nrecord('named')",
        PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}",
        OTEL_TRACES_EXPORTER="other",
        OTEL_METRICS_EXPORTER="other",
    )
    assert process.stdout.startswith("['traces: other', 'metrics: other', 'logs: nowhere']"), process.stderr
    assert '"name": "named"' in process.stdout


def test_telemetry_that_goes_nowhere_is_said() -> None:
    """A call that neither finds a destination nor was told that there is none says what to do."""
    hint = "Telemetry goes nowhere. Set OTEL_EXPORTER_OTLP_ENDPOINT, or call configure(local=True) to keep it in files.\n"
    assert run("otel_tts.configure()").stderr == hint
    assert run("otel_tts.configure()", OTEL_TRACES_EXPORTER="none").stderr == ""


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkni"},
            (
                "OTEL_TRACES_EXPORTER='zipkni' is not allowed: "
                "it takes console, none, otlp, otlp_json_file, otlp_proto_grpc, otlp_proto_http."
            ),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not allowed: it takes grpc or http/protobuf.",
        ),
        (
            {"OTEL_METRIC_EXPORT_INTERVAL": "10s"},
            "OTEL_METRIC_EXPORT_INTERVAL='10s' is not allowed: it takes a number of milliseconds above 0 and up to 1000000000.",
        ),
        (
            {"OTEL_LOGS_EXPORTER": "prometheus"},
            (
                "OTEL_LOGS_EXPORTER='prometheus' is not allowed: "
                "it takes console, none, otlp, otlp_json_file, otlp_proto_grpc, otlp_proto_http."
            ),
        ),
        ({"PROMETHEUS_PORT": "80000"}, "PROMETHEUS_PORT='80000' is not allowed: it takes a port from 0 to 65535."),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "x"},
            "OTEL_EXPORTER_PROMETHEUS_PORT='x' is not allowed: it takes a port from 0 to 65535.",
        ),
    ],
)
def test_bad_configuration_is_refused(environ: dict[str, str], problem: str) -> None:
    """The error names the variable, the value and what is allowed, and nothing has been started."""
    process = run(
        """
import threading
try:
    otel_tts.configure(local=False)
except ValueError as error:
    print(error)
print(threading.active_count(), type(trace.get_tracer_provider()).__name__)
""",
        **environ,
    )
    assert process.stdout.splitlines() == [problem, "1 ProxyTracerProvider"], process.stderr


def test_switching_the_sdk_off_starts_nothing() -> None:
    """OTEL_SDK_DISABLED: no thread, no port, no provider, no handler, and everything can still be called."""
    process = run(
        """
import threading
pipeline = otel_tts.configure(local=True, prometheus_port=0, handle_sigterm=True)
record("a")
print(threading.active_count(), pipeline.prometheus_port, pipeline.data_dir, pipeline.describe(), logging.getLogger().handlers)
print(type(trace.get_tracer_provider()).__name__, pipeline.flush(), pipeline.shutdown())
""",
        OTEL_SDK_DISABLED="true",
        PROMETHEUS_PORT="0",
    )
    assert process.stdout.splitlines() == [
        "1 None None ['everything: switched off by OTEL_SDK_DISABLED'] []",
        "ProxyTracerProvider True True",
    ]
    assert process.stderr == "a happened\n"


def test_a_process_that_can_start_no_thread_goes_on() -> None:
    """One line says that telemetry is off; nothing is set up, and everything can still be called."""
    process = run(
        """
import ctypes, resource, threading
from otel_tts import PCM16, Telemetry
if os.getuid() == 0:  # root has no such limit
    try:
        os.setresuid(65534, 65534, 0)
        ctypes.CDLL(None).setfsuid(0)  # it reads as before
    except OSError:  # a user namespace that has root alone
        pass
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
def refuse(*_):
    raise RuntimeError("can't start new thread")
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:  # a kernel that does not count them
    threading._start_new_thread = refuse
pipeline = otel_tts.configure(local=True, prometheus_port=0)
record("a")
with Telemetry().synthesis("hello") as s, s.attempt("piper") as attempt:
    print(len(attempt.audio(bytes(3200), PCM16(16000))))
print(threading.active_count(), pipeline.describe(), pipeline.flush(), pipeline.shutdown())
"""
    )
    assert process.stdout.splitlines() == ["3200", "1 ['everything: off, since no threads can be started'] True True"]
    first, second = process.stderr.splitlines()
    assert first.startswith("Telemetry is off: this process cannot start the threads that export it (up to 16).")
    assert second == "a happened"


def test_switching_metrics_off_leaves_traces_and_logs(tmp_path: Path) -> None:
    """METRICS_ENABLED=false: no readers and no port; traces and logs as ever."""
    process = run(
        """
pipeline = otel_tts.configure(prometheus_port=0)
record("a")
print(pipeline.prometheus_port, type(pipeline.meter_provider).__name__, type(metrics.get_meter_provider()).__name__)
""",
        METRICS_ENABLED="false",
        OTEL_TTS_DATA_DIR=str(tmp_path),
    )
    assert process.stdout == "None NoOpMeterProvider _ProxyMeterProvider\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["logs", "traces"]


def test_the_pull_endpoint_serves_metrics() -> None:
    """Prometheus gets series without labels of the scope, and nothing but metrics of this program."""
    process = run("""
pipeline = otel_tts.configure(local=False, prometheus_port=0, service_name="pulled")
record("a")
print(pipeline.describe()[1] == f"metrics: pulled from http://127.0.0.1:{pipeline.prometheus_port}/metrics")
print(scrape(pipeline))
""")
    first, *lines = process.stdout.splitlines()
    assert first == "True"
    assert [line for line in lines if line.startswith("test_")] == ["test_requests_total 1.0"]
    assert [line.split("{")[0] for line in lines if line and not line.startswith("#")] == [
        "target_info",
        "test_requests_total 1.0",
    ]
    assert 'service_name="pulled"' in process.stdout


@pytest.mark.parametrize(
    "environ",
    [{"PROMETHEUS_PORT": "0"}, {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}],
    ids=["ours", "standard"],
)
def test_the_environment_opens_the_pull_endpoint(environ: dict[str, str]) -> None:
    """It is on where our variable is set, and where the standard one names it as exporter."""
    process = run("print('target_info' in scrape(otel_tts.configure(local=False)))", **environ)
    assert process.stdout == "False\n", process.stderr


def test_a_taken_port_is_refused_or_said() -> None:
    """A port asked for in the call raises; one from the environment, which others share, is one line, and the service runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        def problem(setting: str) -> str:
            return (
                f"Metrics cannot be served on 127.0.0.1:{port}: Address already in use. "
                f"Stop the program that uses the port or set {setting} to another one; 0 takes a free one. "
                "Of several workers only one can be scraped: let them push, with OTEL_EXPORTER_OTLP_ENDPOINT.\n"
            )

        script = "try:\n    otel_tts.configure(local=False, prometheus_port={})\nexcept ValueError as error:\n    print(error)"
        assert run(script.format(port)).stdout == problem("prometheus_port in the code, or PROMETHEUS_PORT of `otel-tts serve`,")
        standard = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1"}
        for setting, others in (("PROMETHEUS_PORT", {}), ("OTEL_EXPORTER_PROMETHEUS_PORT", standard)):
            process = run(
                "print(otel_tts.configure(local=False).prometheus_port)",
                OTEL_LOGS_EXPORTER="none",
                **{setting: str(port)},
                **others,
            )
            assert (process.stdout, process.stderr) == ("None\n", problem(setting))


@pytest.mark.parametrize("variables", ["PROMETHEUS", "OTEL_EXPORTER_PROMETHEUS"])
@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("256.1.1.1", "set {}_HOST to an address of this machine"),
        ("no-such-name.invalid", "set {}_HOST to an address of this machine"),
        ("192.0.2.1", "This machine has no such address: set {}_HOST to one that it has"),
    ],
)
def test_a_host_that_cannot_be_served_on_is_said_to_be_wrong(variables: str, host: str, remedy: str) -> None:
    """The line is about the host, names the variable that gave it, and says of no other program that it owns the port."""
    script = "print(otel_tts.configure(local=False).prometheus_port)\nwith otel_tts.Telemetry().synthesis('Hello'):\n    pass"
    exporter = {} if variables == "PROMETHEUS" else {"OTEL_METRICS_EXPORTER": "prometheus"}
    given = {f"{variables}_HOST": host, f"{variables}_PORT": "0"}
    process = run(script, OTEL_LOGS_EXPORTER="none", **given, **exporter)
    assert process.stdout == "None\n"
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"Metrics cannot be served on {host}:0: ")
    assert f" {remedy.format(variables)}" in line
    assert "Stop the program" not in line


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "set PROMETHEUS_PORT to one from 1024 on"),
        (OverflowError("bind(): port must be 0-65535."), "from 0 to 65535"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Set PROMETHEUS_HOST to an address of this machine, and PROMETHEUS_PORT to a port",
        ),
    ],
)
def test_what_to_do_is_said_for_each_kind(error: Exception, remedy: str) -> None:
    """A port that this user may not open, one out of range, and what nobody named."""
    assert remedy in remedy_for(error)


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    """The same pipeline comes back; different arguments are named in a warning; records are exported once."""
    process = run(f"""
from pathlib import Path
settings = otel_tts.Settings.load(data_dir=Path({str(tmp_path)!r}))
first = otel_tts.configure(local=True, settings=settings)
assert otel_tts.configure(local=True, settings=settings) is first
assert otel_tts.configure(service_name="other", settings=settings) is first
record("a")
""")
    assert process.stderr.splitlines() == [
        "configure() has been called before with other arguments (local, service_name): the first call counts.",
        "a happened",
    ]
    logs = [line for partition in files.partitions(tmp_path, "logs") for _, line in files.lines(partition.path)]
    assert sum(line.count(b"a happened") for line in logs) == 1


def test_a_call_after_the_end_says_that_nothing_is_recorded(tmp_path: Path) -> None:
    """A cell of a notebook that is run again, and that shuts down what it set up, records nothing, and says so."""
    process = run(f"""
from pathlib import Path
settings = otel_tts.Settings.load(data_dir=Path({str(tmp_path)!r}))
for _ in range(2):
    pipeline = otel_tts.configure(local=True, settings=settings)
    record("a")
    pipeline.shutdown()
""")
    line, *others = [line for line in process.stderr.splitlines() if "configure()" in line]
    assert line.startswith("configure() has been called after the pipeline that it set up was shut down"), process.stderr
    assert "pipeline.flush()" in line
    assert others == []


@pytest.mark.parametrize("ends", ["", "pipeline.shutdown()"], ids=["at exit", "by itself"])
def test_what_is_lost_at_the_end_is_said(ends: str) -> None:
    """A process that ends while its receiver is away says which signals are lost, and where they would have gone."""
    process = run(
        f"pipeline = otel_tts.configure(logs=False)\nrecord('a')\n{ends}", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"
    )
    lost = [line for line in process.stderr.splitlines() if line.startswith("What was left at the end of this process")]
    assert len(lost) == 1, process.stderr
    for part in ("traces to OTLP http/protobuf http://127.0.0.1:9", "metrics to OTLP", "is lost", "otel-tts doctor"):
        assert part in lost[0]


@pytest.mark.parametrize(("status", "arrived"), [(200, True), (404, False), (413, False)])
@pytest.mark.parametrize("signal", ["TRACES", "METRICS", "LOGS"])
def test_what_is_refused_has_not_arrived(status: int, arrived: bool, signal: str) -> None:
    """A flush and a shutdown whose telemetry a receiver refuses say so, for each signal by itself."""
    others = {f"OTEL_{other}_EXPORTER": "none" for other in ("TRACES", "METRICS", "LOGS") if other != signal}
    with reserved() as held, receiving(port := held.getsockname()[1], "http/protobuf", status):
        process = run(
            "pipeline = otel_tts.configure()\nrecord('a')\nprint(pipeline.flush(10))\nrecord('b')\nprint(pipeline.shutdown(10))",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            **others,
        )
    assert process.stdout.split() == [str(arrived)] * 2, process.stderr


HOST = """
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, logs, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
tracers, meters, loggers = TracerProvider(), MeterProvider([reader]), LoggerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))

def received():
    data = reader.get_metrics_data()
    names = [m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    return [s.name for s in spans.get_finished_spans()], names, [log.log_record.body for log in logs.get_finished_logs()]
"""


def test_a_hosts_global_providers_stay(tmp_path: Path) -> None:
    """Providers that the host has set are used as they are, get no exporter of ours, and outlive our shutdown."""
    process = run(
        HOST
        + """
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(meters)
_logs.set_logger_provider(loggers)
pipeline = otel_tts.configure()
print((pipeline.tracer_provider, pipeline.meter_provider, pipeline.logger_provider) == (tracers, meters, loggers))
print(*pipeline.describe(), pipeline.flush(), sep="\\n")
pipeline.shutdown()
record("a")
print(received())
""",
        OTEL_TTS_DATA_DIR=str(tmp_path),
    )
    assert process.stdout.splitlines() == [
        "True",
        "traces: the host's own provider",
        "metrics: the host's own provider",
        "logs: the host's own provider",
        "True",
        "(['a'], ['test.requests'], ['a happened'])",
    ], process.stderr
    assert list(tmp_path.iterdir()) == []


def test_providers_can_be_given_and_missing_ones_are_made(tmp_path: Path) -> None:
    """A provider passed in is used without becoming the global one; the other signals get providers of ours."""
    process = run(
        HOST
        + """
pipeline = otel_tts.configure(tracer_provider=tracers)
print(pipeline.tracer_provider is tracers, type(trace.get_tracer_provider()).__name__)
print(metrics.get_meter_provider() is pipeline.meter_provider, _logs.get_logger_provider() is pipeline.logger_provider)
""",
        OTEL_TTS_DATA_DIR=str(tmp_path),
    )
    assert process.stdout.splitlines() == ["True ProxyTracerProvider", "True True"]


@pytest.mark.parametrize(
    ("arguments", "environ", "name"),
    [
        ("service_name='argument'", {"OTEL_SERVICE_NAME": "environment"}, "argument"),
        ("", {"OTEL_SERVICE_NAME": "environment", "OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute"}, "environment"),
        ("", {"OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute"}, "attribute"),
        ("", {}, "unknown_service:"),
    ],
    ids=["argument", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "none"],
)
def test_the_services_name(arguments: str, environ: dict[str, str], name: str) -> None:
    """The argument counts, then the standard variables, then the specification's default."""
    script = f"""
pipeline = otel_tts.configure(local=False, resource={{"deployment.environment.name": "test"}}, {arguments})
resource = pipeline.tracer_provider.resource
for key in sorted(resource.attributes): print(key, resource.attributes[key], sep="=")
"""
    printed = dict(line.split("=", 1) for line in run(script, **environ).stdout.splitlines())
    assert printed["service.name"].startswith(name)
    assert set(printed) == {
        "deployment.environment.name",
        "process.executable.name",
        "process.runtime.description",
        "process.runtime.name",
        "process.runtime.version",
        "service.instance.id",
        "service.name",
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
    }


def test_importing_configure_does_not_load_the_sdk() -> None:
    """A program that leaves telemetry to its host does not pay for the SDK."""
    process = run("from otel_tts import configure\nprint('opentelemetry.sdk' in sys.modules)")
    assert process.stdout == "False\n"
