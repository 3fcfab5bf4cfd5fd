"""What a process of ours sends is never larger than what the Collector takes: the real one, as Compose runs it, with what it takes kept."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.stack import ROOT, answers, program, until
from tests.ports import free_port

SERIES = 10_000
SPANS = 40
PROGRAM = f"""
import otel_tts
from opentelemetry import metrics, trace

pipeline = otel_tts.configure(service_name="large")
counters = [metrics.get_meter("a.library").create_counter(f"large.{{number}}", description="of many series") for number in range(10)]
tracer = trace.get_tracer("a.library")
for time in range(2):
    for series in range({SERIES}):
        counters[series % 10].add(1, {{"series": series, "voice": "a-voice-with-a-name-of-usual-length", "language": "en-US"}})
    for number in range({SPANS}):
        tracer.start_span("large", attributes={{"number": time * {SPANS} + number, "filling": "x" * 90_000}}).end()
    print(pipeline.flush(60))
print(pipeline.shutdown(60))
"""


class Backend(ThreadingHTTPServer):
    """Keeps the last value of each series, and the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.series: dict[int, int] = {}
        self.spans: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        if self.path.endswith("metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                    for point in metric.sum.data_points if metric.name.startswith("large.") else ():
                        (series,) = [attribute.value.int_value for attribute in point.attributes if attribute.key == "series"]
                        self.server.series[series] = max(point.as_int, self.server.series.get(series, 0))
        else:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    self.server.spans += [a.value.int_value for a in span.attributes if a.key == "number"]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize(("protocol", "direct"), [("http/protobuf", "true"), ("grpc", "false")])
def test_all_of_it_arrives(tmp_path: Path, protocol: str, direct: str) -> None:
    """10,000 series with their totals, and 7 MB of spans, once each: by both protocols, on the direct path and the SDK's."""
    with Backend() as backend, (tmp_path / "log").open("w") as log:
        threading.Thread(target=backend.serve_forever, args=(0.01,), daemon=True).start()
        ports = {"http/protobuf": free_port(), "grpc": free_port()}
        health = free_port()
        environ = {
            "OTLP_HTTP_PORT": str(ports["http/protobuf"]), "OTLP_GRPC_PORT": str(ports["grpc"]), "HEALTH_PORT": str(health),
            "QUEUE_DIR": str(tmp_path / "queue"), "BATCH_TIMEOUT": "100ms",
            "METRICS_OTLP_URL": backend.url, "TRACES_OTLP_URL": backend.url,
        }  # fmt: skip
        command = [program("otelcol-tts"), "--config", str(ROOT / "collector/config.yaml")]
        collector = subprocess.Popen(command, env=os.environ | environ, stderr=log)
        try:
            until(lambda: answers(f"http://127.0.0.1:{health}"), "the Collector")
            sending = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports[protocol]}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_TTS_DIRECT": direct, "OTEL_LOGS_EXPORTER": "none",
            }  # fmt: skip
            ended = subprocess.run(
                [sys.executable, "-c", PROGRAM], env=os.environ | sending, capture_output=True, text=True, timeout=180
            )
            assert (ended.stdout, ended.stderr) == ("True\n" * 3, "")
            until(lambda: len(backend.spans) >= 2 * SPANS and backend.series == dict.fromkeys(range(SERIES), 2), "all of it", 120)
            assert sorted(backend.spans) == list(range(2 * SPANS))
        finally:
            collector.terminate()
            collector.wait(30)
            backend.shutdown()
