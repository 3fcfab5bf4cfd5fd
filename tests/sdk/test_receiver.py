"""A receiver of gRPC on a port of its own: one line says what to set, whichever signals and exporters are in use."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
import requests
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_tts.sdk.receiver import CheckedSession, SpeaksGRPCError

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that has signed itself; its key stands beside it."""
    cert = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *subject, "-keyout", cert.with_name("key.pem"), "-out", cert], check=True, capture_output=True)
    return cert


@contextmanager
def receiver(certificate: Path | None = None) -> Iterator[tuple[int, set[str]]]:
    """A real receiver of OTLP over gRPC, over TLS with a certificate: its port, and the signals that have arrived."""
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
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate.with_name("key.pem").read_bytes(), certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield port, arrived
    finally:
        server.stop(None).wait()


def run(port: int, environ: dict[str, str]) -> list[str]:
    """What the program prints, with its telemetry sent to a port; without its own log records and the line on what was lost at its end."""
    wiped = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "METRICS_"))}
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:secret@127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_TIMEOUT": "5"}
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=wiped | settings | environ, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    printed = (result.stdout + result.stderr).splitlines()
    own = [f"request {number}" for number in range(3)]
    assert [line for line in printed if line in own] == own
    at_the_end = "What was left at the end of this process did not leave in time and is lost"
    return [line for line in printed if line not in own and not line.startswith(at_the_end)]


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


@pytest.mark.parametrize(
    "environ",
    [pytest.param({}, id="direct path"), pytest.param({"OTEL_TRACES_EXPORTER": "otlp,otlp_proto_http"}, id="SDK's exporters")],
)
def test_one_line_says_so_over_tls(environ: dict[str, str], certificate: Path) -> None:
    """Over TLS such a receiver only ends the connection: the same line is printed; with what it says, the signals arrive."""
    trusted = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate), "REQUESTS_CA_BUNDLE": requests.certs.where()}
    with receiver(certificate) as (port, arrived):
        trusted["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://127.0.0.1:{port}"
        [line] = run(port, trusted | environ)
        assert line.startswith(
            f"127.0.0.1:{port} speaks gRPC, and telemetry is sent to it by HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        )
        assert arrived == set()
        assert run(port, trusted | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) == []
        assert arrived == {"traces", "metrics", "logs"}


class Leaving(BaseHTTPRequestHandler):
    """A handler that ends each connection without a response."""

    def do_POST(self) -> None:
        """Say nothing."""
        self.close_connection = True


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["h2", "http/1.1"]])
def test_a_receiver_of_http_that_fails_is_not_accused(protocols: list[str], certificate: Path) -> None:
    """One that takes HTTP/1.1, or names no protocol, and ends the connection: the failure is passed on as it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    if protocols:
        context.set_alpn_protocols(protocols)
    with HTTPServer(("127.0.0.1", 0), Leaving) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            with CheckedSession() as session, pytest.raises(requests.ConnectionError) as caught:
                session.post(f"https://127.0.0.1:{server.server_port}", verify=str(certificate), timeout=10)
        finally:
            server.shutdown()
    assert not isinstance(caught.value, SpeaksGRPCError)
