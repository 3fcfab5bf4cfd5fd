"""Providers that a program sets after otel-tts's: whole programs, whose own exporters and readers get what they made, and ours too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tts import semconv
from otel_tts.sdk.late import _place
from tests.sdk.test_configure import Receiver, receiver
from tests.sdk.test_fork import counted, spans

__all__ = ["receiver"]

HOST = """
import json, sys
from opentelemetry import trace, metrics
from opentelemetry.trace import set_tracer_provider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_tts import PCM16, Telemetry

early_tracer, early_counter = trace.get_tracer("early"), metrics.get_meter("early").create_counter("early.count")
resource = Resource.create({"service.name": "agent"})
tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
"""
SET = """
set_tracer_provider(tracers)
tracers.add_span_processor(BatchSpanProcessor(exporter))  # as often, after it was set
metrics.set_meter_provider(meters)
"""
WORK = """
tts = Telemetry()
counter, own = metrics.get_meter("host").create_counter("host.count"), meters.get_meter("own").create_counter("own.count")
durations = metrics.get_meter("host").create_histogram("host.duration")
for number in range(3):
    with trace.get_tracer("host").start_as_current_span("turn"), tracers.get_tracer("own").start_as_current_span("inner"):
        with early_tracer.start_as_current_span("early"), tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
            attempt.audio(bytes(3200), PCM16(16000))
        counter.add(1), own.add(1), early_counter.add(1), durations.record(0.1)
import otel_tts
otel_tts.configure(local=True).flush(10)
"""
REPORT = """
got = {}
data = reader.get_metrics_data()
for r in data.resource_metrics:
    for s in r.scope_metrics:
        for m in s.metrics:
            got[m.name] = sum(getattr(p, "count", getattr(p, "value", 0)) for p in m.data.data_points)
finished = exporter.get_finished_spans()
services = {s.resource.attributes["service.name"] for s in finished} | {
    r.resource.attributes["service.name"] for r in data.resource_metrics}
print(json.dumps([sorted(s.name for s in finished), got, sorted(services)]))
"""
OBSERVED = [str(Path(sys.executable).with_name("otel-tts")), "run", "--", sys.executable]
CONFIGURED = "import otel_tts\notel_tts.configure(local=True)\n"


def run(directory: Path, script: str, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A whole program."""
    (directory / "program.py").write_text(script)
    variables = os.environ | {"OTEL_TTS_DATA_DIR": str(directory / "data"), "OTEL_SERVICE_NAME": "ours"} | environ
    return subprocess.run(
        [*command, str(directory / "program.py")], env=variables, capture_output=True, text=True, timeout=60, check=True
    )


@pytest.mark.parametrize("direct", ["true", "false"])
@pytest.mark.parametrize("way", ["otel-tts run", "configure"])
def test_both_get_everything_once(tmp_path: Path, way: str, direct: str) -> None:
    """The host's exporter and reader get its telemetry and ours, ours as well; each under the exporter's own resource, each once."""
    command, first = (OBSERVED, "") if way == "otel-tts run" else ([sys.executable], CONFIGURED)
    process = run(tmp_path, first + HOST + SET + WORK + REPORT, *command, OTEL_TTS_DIRECT=direct)
    names, got, services = json.loads(process.stdout)
    expected = sorted(["turn", "inner", "early", semconv.SYNTHESIS_SPAN.name, "text_to_speech"] * 3)
    counts = {"host.count": 3, "own.count": 3, "early.count": 3, "host.duration": 3, semconv.SYNTHESIS_REQUESTS.name: 3}

    assert names == expected, process.stderr
    assert {name: got[name] for name in counts} == counts
    assert got[semconv.SYNTHESIS_DURATION.name] == 3
    assert services == ["agent"]
    (ours,) = spans(tmp_path / "data").values()
    assert sorted(ours.elements()) == expected
    assert [sum(counted(tmp_path / "data", name).values()) for name in counts] == [3] * len(counts)
    assert "not allowed" not in process.stderr


SAME = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
set_tracer_provider(tracers)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracers.add_span_processor(SimpleSpanProcessor(exporter))
reader = InMemoryMetricReader()
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter()), reader], resource=resource)
metrics.set_meter_provider(meters)
"""


def test_the_same_receiver_gets_nothing_twice(tmp_path: Path, receiver: Receiver) -> None:
    """A host whose exporters go to where ours go, as with the standard variables: each span once; its others get everything."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_TTS_DATA_DIR": ""}
    process = run(tmp_path, HOST + SAME + WORK + "tracers.shutdown()\nmeters.shutdown()\n" + REPORT, *OBSERVED, **variables)
    expected = sorted(["turn", "inner", "early", semconv.SYNTHESIS_SPAN.name, "text_to_speech"] * 3)
    assert sorted(name for _, name in receiver.spans()) == expected
    series = {
        (attribute.value.string_value, metric.name)
        for request in receiver.metric_requests()
        for resource in request.resource_metrics
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {name for service, name in series if service == "agent"} == {"own.count"}
    assert {"host.count", semconv.SYNTHESIS_REQUESTS.name} <= {name for service, name in series if service == "ours"}
    assert len(series) == len({name for _, name in series}), "a metric arrived from both"
    assert json.loads(process.stdout)[0] == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:4318", "http://127.0.0.1:4317", True),
        ("collector:4317", "http://collector:4318/v1/traces", True),
        ("http://a:80", "http://a:81", False),
        ("http://a:4317", "http://b:4317", False),
        ("http://a:99999", "http://a:1", False),
    ],
)
def test_what_one_receiver_is(one: str, other: str, same: bool) -> None:
    """However its endpoint is written: for gRPC or HTTP, with a path or without."""
    assert (_place(one) == _place(other)) is same


REFUSED = """
class Other(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()
set_tracer_provider(Other())
"""


def test_a_provider_of_another_kind_gets_one_line(tmp_path: Path) -> None:
    """Where nothing can be joined, one line says what to do, and ours go on."""
    process = run(tmp_path, HOST + REFUSED + REFUSED + WORK, *OBSERVED)
    lines = [line for line in process.stderr.splitlines() if "was set after otel-tts's" in line]
    assert len(lines) == 2  # two providers
    assert all("OTEL_EXPORTER_OTLP_ENDPOINT" in line and "configure()" in line for line in lines)
    assert sum(next(iter(spans(tmp_path / "data").values())).values()) == 12  # those of the host's own provider are its own


SET_LOGS = """
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
_logs.set_logger_provider(LoggerProvider())
"""


def test_a_provider_of_log_records_gets_one_line(tmp_path: Path) -> None:
    """It is joined with nothing, and gets no records that are made through the API: one line says so."""
    process = run(tmp_path, HOST + SET_LOGS, *OBSERVED)
    (line,) = [line for line in process.stderr.splitlines() if "was set after otel-tts's" in line]
    assert "A LoggerProvider was set" in line
    assert "not allowed" not in process.stderr
