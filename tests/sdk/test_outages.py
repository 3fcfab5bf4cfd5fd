"""A receiver that cannot be reached: two lines in the log for each signal, when that begins and when it is over."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest
import requests
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts.files import SIGNALS, Signal
from otel_tts.sdk import outages
from otel_tts.sdk.direct.senders import HTTPSender
from otel_tts.sdk.exporters import ForkedLogExporter, ForkedMetricExporter, ForkedSpanExporter, destinations
from otel_tts.settings import Settings

PROTOCOLS = ("http/protobuf", "grpc")
SUBJECTS = {"traces": "Spans", "metrics": "Metrics", "logs": "Log records"}


def batch(signal: Signal) -> Any:
    """Telemetry of the SDK's own making."""
    if signal == "metrics":
        reader = InMemoryMetricReader()
        MeterProvider([reader]).get_meter("test").create_counter("test.requests").add(1)
        return reader.get_metrics_data()
    if signal == "traces":
        spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(spans))
        provider.get_tracer("test").start_span("a span").end()
        return spans.get_finished_spans()
    records = InMemoryLogRecordExporter()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
    loggers.get_logger("test").emit(body="a record")
    return records.get_finished_logs()


def exporter(signal: Signal, environ: dict[str, str]) -> Any:
    """The exporter that `configure` would build."""
    [way] = destinations(signal, Settings.load({}), local=False, environ=environ)
    if signal == "traces":
        return ForkedSpanExporter(way.build, way.description, capture_text=True)
    return (ForkedMetricExporter if signal == "metrics" else ForkedLogExporter)(way.build, way.description)


@contextmanager
def reserved() -> Iterator[socket.socket]:
    """A port that nobody listens on, and that nobody else can get."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held


@contextmanager
def receiving(port: int, protocol: str, status: int = 200) -> Iterator[None]:
    """A receiver of all signals on a reserved port."""
    if protocol == "grpc":
        responses = {
            "TraceService": trace_service_pb2.ExportTraceServiceResponse(),
            "MetricsService": metrics_service_pb2.ExportMetricsServiceResponse(),
            "LogsService": logs_service_pb2.ExportLogsServiceResponse(),
        }

        class Services(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
                response = responses[details.method.split("/")[1].rpartition(".")[2]]
                return grpc.unary_unary_rpc_method_handler(lambda _request, _context: response.SerializeToString())

        server = grpc.server(ThreadPoolExecutor(3), [Services()], options=[("grpc.so_reuseport", 1)])
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        server.start()
        yield
        server.stop(None).wait()
        return

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        def server_bind(self) -> None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            super().server_bind()

    with Server(("127.0.0.1", port), Handler) as web:
        Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        yield
        web.shutdown()


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str, str], dict[str, str]]:
    """Set the variables that the exporters read by themselves."""

    def set_variables(port: int, protocol: str, timeout_s: str) -> dict[str, str]:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:secret@127.0.0.1:{port}"
            if protocol != "grpc"
            else f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": timeout_s,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return set_variables


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_outage_is_two_lines(protocol: str, environ: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A closed port, twice: one line for each signal and outage, whatever the exporters retry, and one when it is over."""
    with reserved() as held:
        port = held.getsockname()[1]
        variables = environ(port, protocol, "1.3")  # time for a second attempt
        exporters = {signal: exporter(signal, variables) for signal in SIGNALS}

        def export(signal: Signal) -> str:
            return str(exporters[signal].export(batch(signal)).name)

        with ThreadPoolExecutor(3) as threads:
            for _ in range(2):
                caplog.clear()
                assert {*threads.map(export, SIGNALS), *threads.map(export, SIGNALS)} == {"FAILURE"}
                assert len(caplog.records) == 3, caplog.text
                for subject in SUBJECTS.values():
                    assert f"{subject} cannot be sent to OTLP {protocol} http://127.0.0.1:{port} (" in caplog.text
                assert caplog.text.count("(UNAVAILABLE)" if protocol == "grpc" else "(connection refused)") == 3
                assert "secret" not in caplog.text
                caplog.clear()
                with receiving(port, protocol):
                    assert {*threads.map(export, SIGNALS), *threads.map(export, SIGNALS)} == {"SUCCESS"}
                assert len(caplog.records) == 3, caplog.text
                for subject in SUBJECTS.values():
                    assert f"{subject} are sent to OTLP {protocol} http://127.0.0.1:{port} again." in caplog.text
        for each in exporters.values():
            each.shutdown()


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_what_is_refused_is_said_each_time(status: int, environ: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that replies is no outage."""
    with reserved() as held, receiving(port := held.getsockname()[1], "http/protobuf", status):
        metrics = exporter("metrics", environ(port, "http/protobuf", "1"))
        for _ in range(2):
            assert metrics.export(batch("metrics")).name == "FAILURE"
        metrics.shutdown()
    assert caplog.text.count(f"code: {status}") == 2


def test_one_that_is_overloaded_is_said_once(environ: Any, caplog: pytest.LogCaptureFixture) -> None:
    """503 is an outage, too, in whatever time the exporter may take."""
    with reserved() as held, receiving(port := held.getsockname()[1], "http/protobuf", 503):
        metrics = exporter("metrics", environ(port, "http/protobuf", "0.5"))
        for _ in range(3):
            assert metrics.export(batch("metrics")).name == "FAILURE"
        metrics.shutdown()
    assert len(caplog.records) == 1, caplog.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_else_is_held_back(protocol: str, environ: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What the exporters log about other things during an export, and all that the host's own exporters log."""
    with reserved() as held:
        variables = environ(held.getsockname()[1], protocol, "0.3")
        metrics = exporter("metrics", variables)
        name = "opentelemetry.exporter.otlp.proto."
        logger = logging.getLogger(name + ("grpc.exporter" if protocol == "grpc" else "http.metric_exporter"))
        others = [
            ("Failed to export %s to %s, error code: %s, error details: %s", ("m", "e", grpc.StatusCode.RESOURCE_EXHAUSTED, "")),
            ("Failed to encode metrics batch: %s", (ValueError("x"),)),
            ("Exporter already shutdown, ignoring batch", ()),
            ("Failed to export %s batch code: %s, reason: %s", ("metrics", 413, "too large")),
            ("Failed to export %s to %s, error code: %s, error details: %s", ("m", "e", grpc.StatusCode.UNAUTHENTICATED, "")),
            ("Transient error %s", ("of somebody else",)),
        ]  # fmt: skip

        def log_others() -> MetricExportResult:
            for message, arguments in others:
                logger.error(message, *arguments)
            return MetricExportResult.SUCCESS

        outages.OutageLog("Metrics", "nowhere", "").watch(log_others)
        assert [record.msg for record in caplog.records] == [message for message, _ in others]
        caplog.clear()
        hosts_own = metrics._own()
        assert hosts_own.export(batch("metrics")).name == "FAILURE"
        assert "Failed to export" in caplog.text
        metrics.shutdown()


@pytest.mark.parametrize(
    ("host", "words"), [("no-such-host.invalid", "no such host"), ("127.0.0.1", "connection refused")], ids=["name", "port"]
)
def test_an_outage_says_why_and_what_to_do(host: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """A host that does not exist is told from a port that nobody listens on, for spans of ours as for what the SDK exports."""
    with reserved() as held:
        url = f"http://{host}:{held.getsockname()[1]}"
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
        HTTPSender(variables).send(b"", 1)
        with pytest.raises(requests.ConnectionError) as failure:
            requests.post(url, timeout=2)
    assert f"Spans cannot be sent to {url}/v1/traces ({words}). They wait in the queue. Does it run" in caplog.text
    assert outages.why(failure.value) == words
