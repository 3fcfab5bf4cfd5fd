"""A receiver of gRPC on a port of its own: one line says what to set, whichever signals and exporters are in use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

PROGRAM = """
import logging
import otel_tts
from opentelemetry import metrics, trace

logging.basicConfig(format="%(message)s", level="INFO")
pipeline = otel_tts.configure(service_name="receiver")
for number in range(3):
    with trace.get_tracer("test").start_as_current_span("a span"):
        metrics.get_meter("test").create_counter("test.requests").add(1)
        logging.getLogger("test").info("request %d", number)
    pipeline.flush(20)
pipeline.shutdown()
"""


@contextmanager
def receiver() -> Iterator[tuple[int, set[str]]]:
    """A real receiver of OTLP over gRPC: its port, and the signals that have arrived."""
    arrived: set[str] = set()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: object, context: object) -> trace_service_pb2.ExportTraceServiceResponse:
            arrived.add("traces")
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: object, context: object) -> metrics_service_pb2.ExportMetricsServiceResponse:
            arrived.add("metrics")
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: object, context: object) -> logs_service_pb2.ExportLogsServiceResponse:
            arrived.add("logs")
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)  # type: ignore[no-untyped-call]
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, arrived
    finally:
        server.stop(None).wait()


def run(port: int, environ: dict[str, str]) -> list[str]:
    """What the program prints, with its telemetry sent to a port; without its own log records."""
    wiped = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "METRICS_"))}
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:secret@127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_TIMEOUT": "5"}
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=wiped | settings | environ, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    printed = (result.stdout + result.stderr).splitlines()
    own = [f"request {number}" for number in range(3)]
    assert [line for line in printed if line in own] == own
    return [line for line in printed if line not in own]


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="all signals, spans on the direct path"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp,otlp_proto_http"}, id="all signals, spans through the SDK's exporters"),
        pytest.param({"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, id="metrics only"),
        pytest.param({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, id="logs only"),
    ],
)
def test_one_line_says_what_to_set(environ: dict[str, str]) -> None:
    """Nothing is repeated, nothing is tried again, and no password is printed; with what the line says, the signals arrive."""
    with receiver() as (port, arrived):
        [line] = run(port, environ)
        assert line == (
            f"127.0.0.1:{port} speaks gRPC, and telemetry is sent to it by HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc. "
            "Nothing arrives until then."
        )
        assert arrived == set()
        mended = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        without = {f"OTEL_{signal.upper()}_EXPORTER" for signal in ("traces", "metrics", "logs")} & environ.keys()
        one = {name: "none" if environ[name] == "none" else "otlp" for name in without}
        assert run(port, one | mended) == []
        assert arrived == {s for s in ("traces", "metrics", "logs") if one.get(f"OTEL_{s.upper()}_EXPORTER") != "none"}
