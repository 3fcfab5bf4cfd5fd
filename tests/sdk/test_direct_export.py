"""The direct path's way out: what waits, what is sent, what is tried again, and what is said to be lost."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from otel_tts.sdk.direct.path import path_of_spans
from otel_tts.sdk.direct.queue import Queue
from otel_tts.sdk.direct.senders import GRPCSender, HTTPSender, sender
from otel_tts.sdk.exporters import destinations
from otel_tts.settings import Settings

REQUEST = ExportTraceServiceRequest(resource_spans=[{"scope_spans": [{"spans": [{"name": "s"}]}]}])
BYTES = REQUEST.SerializeToString()
PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
).SerializeToString()


class Receiver:
    """A receiver of OTLP over HTTP that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        """Of the next requests: status, headers, body; then 200."""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, answer = receiver.answers.pop(0) if receiver.answers else (200, {}, b"")
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(answer))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    running = Receiver()
    yield running
    running.close()


# -- the queue -------------------------------------------------------------------------------------------------------------------------


class Exported:
    """An exporter that answers as it is told and keeps what it takes."""

    def __init__(self, *answers: float | None) -> None:
        self.answers = list(answers)
        self.items: list[int] = []
        self.called = threading.Semaphore(0)

    def __call__(self, batch: Sequence[int]) -> float | None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            self.items.extend(batch)
        self.called.release()
        return answer


@pytest.fixture
def make() -> Iterator[Callable[..., Queue[int]]]:
    """Makes queues, which are closed at the end."""
    queues: list[Queue[int]] = []

    def queue(
        export: Callable[[Sequence[int]], float | None], size: int = 100, batch: int = 10, delay_s: float = 3600, **bound: Any
    ) -> Queue[int]:
        queues.append(Queue(export, most_spans=size, batch=batch, delay_s=delay_s, **bound))
        return queues[-1]

    yield queue
    for made in queues:
        made.close(5)


def test_a_full_batch_is_exported_at_once(make: Callable[..., Queue[int]]) -> None:
    """Nobody waits for the delay when there are enough."""
    exported = Exported()
    queue = make(exported)
    for number in range(10):
        queue.put(number)
    assert exported.called.acquire(timeout=10)
    assert exported.items == list(range(10))


def test_the_rest_is_exported_after_the_delay(make: Callable[..., Queue[int]]) -> None:
    """What makes no batch does not wait for ever."""
    exported = Exported()
    make(exported, delay_s=0.01).put(1)
    assert exported.called.acquire(timeout=10)
    assert exported.items == [1]


def test_what_ends_after_the_last_export_is_told_as_that(caplog: pytest.LogCaptureFixture) -> None:
    """A queue of a hundred is not full of one span: the log says that it came too late, and what to do."""

    def export(batch: Sequence[int]) -> None:
        if batch == [1]:
            queue.put(2)  # another thread ends a span while the last ones are exported

    queue: Queue[int] = Queue(export, most_spans=100, batch=10, delay_s=3600)
    queue.put(1)
    queue.close(5)
    assert queue.dropped == 1
    [record] = caplog.records
    assert record.getMessage().startswith("Dropped spans: 1 (1 in all): they ended after the last export.")


def test_what_the_receiver_cannot_take_now_waits_in_its_order(
    make: Callable[..., Queue[int]], caplog: pytest.LogCaptureFixture
) -> None:
    """A pause of the receiver costs nothing: batches are tried again until they are taken, none twice, none lost."""
    exported = Exported(0.0, 0.0, 0.0)
    queue = make(exported)
    for number in range(35):
        queue.put(number)
    for _ in range(3):
        queue.flush(10)
    assert queue.flush(10)
    assert exported.items == list(range(35))
    assert queue.dropped == 0
    assert not caplog.records


def test_every_drop_is_counted_and_said(make: Callable[..., Queue[int]], caplog: pytest.LogCaptureFixture) -> None:
    """However many threads fill a queue, exported and dropped together are exactly what was put in."""
    entered, leave = threading.Event(), threading.Event()
    items: list[int] = []

    def export(batch: Sequence[int]) -> None:
        entered.set()
        leave.wait(10)
        items.extend(batch)

    queue = make(export, size=50)
    for number in range(10):
        queue.put(number)
    assert entered.wait(10)
    with ThreadPoolExecutor(4) as threads:
        for number in range(4):
            threads.submit(lambda first: [queue.put(n) for n in range(first, first + 500)], 1000 * (number + 1))
    leave.set()
    queue.close(10)
    assert len(items) == len(set(items))
    assert len(items) + queue.dropped == 2010
    assert 1950 <= queue.dropped <= 1964  # the bound may be passed by one for each thread
    assert "Dropped spans: " in caplog.text
    queue.put(1)
    assert queue.dropped == 2011 - len(items)


def test_what_waits_is_bounded_in_bytes(make: Callable[..., Queue[int]]) -> None:
    """However large items are and however many threads put them, about so many bytes wait; each drop is counted, and room comes back."""
    entered, leave = threading.Event(), threading.Event()
    items: list[int] = []

    def export(batch: Sequence[int]) -> None:
        entered.set()
        leave.wait(10)
        items.extend(batch)

    queue = make(export, size=10**6, bytes_of=lambda item: item, most_bytes=10_000)  # each takes as many bytes as it says
    for _ in range(10):
        queue.put(1)
    assert entered.wait(10)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(lambda: [queue.put(100) for _ in range(500)])
    put = 2010
    waiting = put - 10 - queue.dropped
    assert 100 <= waiting <= 104  # the bound may be passed by one for each thread
    leave.set()
    assert queue.flush(10)
    assert len(items) + queue.dropped == put
    dropped = queue.dropped
    for _ in range(100):
        queue.put(100)
    assert queue.flush(10)
    assert queue.dropped == dropped
    assert len(items) + queue.dropped == put + 100


def test_what_ends_after_the_end_takes_no_memory() -> None:
    """Spans that come when the queue is closed are dropped at once, and counted."""

    class Large:
        """A span."""

    queue: Queue[Large] = Queue(lambda _: None, most_spans=100, batch=10, delay_s=3600)
    queue.put(Large())
    queue.close(10)
    late = [Large() for _ in range(7)]
    for span in late:
        queue.put(span)
    kept = [weakref.ref(span) for span in late]
    del span, late
    assert [reference() for reference in kept] == [None] * 7
    assert queue.dropped == 7


def test_a_batch_is_no_larger_than_a_receiver_takes(make: Callable[..., Queue[int]]) -> None:
    """A Collector refuses more than 1 MiB, and all spans in it: few large items make a batch; a larger one goes by itself."""
    batches: list[list[int]] = []
    large = 300_000
    queue = make(lambda batch: batches.append(list(batch)), batch=100, bytes_of=lambda item: item)
    for size in (large, large, large, large, 5 * large, 1, 1):
        queue.put(size)
    assert queue.flush(10)
    assert batches == [[large] * 3, [large], [5 * large], [1, 1]]


def test_an_exporter_that_raises_costs_its_batch_only(make: Callable[..., Queue[int]], caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on, whatever an exporter does."""
    items: list[int] = []

    def export(batch: Sequence[int]) -> None:
        if 3 in batch:
            raise RuntimeError("a fault")
        items.extend(batch)

    queue = make(export)
    for number in range(20):
        queue.put(number)
    assert queue.flush(10)
    assert items == list(range(10, 20))
    assert "could not be exported" in caplog.text


def test_the_end_waits_for_no_receiver_that_is_not_there(
    make: Callable[..., Queue[int]], caplog: pytest.LogCaptureFixture
) -> None:
    """At the end a batch is tried as long as the time lasts; what is left then is counted and said."""
    exported = Exported(*[3600.0] * 9)
    queue = make(exported)
    for number in range(25):
        queue.put(number)
    queue.close(10)
    assert queue.dropped == 25
    assert "Dropped spans: 25 (25 in all)" in caplog.text


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan"])
def test_a_queue_size_that_is_none_leaves_the_default(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A slip in a variable costs no span, and is said."""
    exported = Exported()
    queue = Queue.from_environ(exported, {"OTEL_BSP_MAX_QUEUE_SIZE": value})
    queue.put(1)
    assert queue.flush(10)
    queue.close(10)
    assert exported.items == [1]
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in caplog.text


# -- over HTTP -------------------------------------------------------------------------------------------------------------------------


def test_http_obeys_the_standard_variables(receiver: Receiver) -> None:
    """Path, headers and compression are what the specification wants; those for traces come before those for all signals."""
    for environ, path, header, decode in (
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}, "/v1/traces", None, bytes),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint + "/base/", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
            "/base/v1/traces",
            "gzip",
            gzip.decompress,
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.endpoint + "/own",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "deflate",
            },
            "/own",
            "deflate",
            zlib.decompress,
        ),
    ):
        headers = {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=general",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=secret%20one,x=y",
        }
        way = HTTPSender(environ | headers)
        assert way.send(BYTES, 1) is None
        way.close()
        seen_path, seen, body = receiver.requests.pop()
        assert (seen_path, seen.get("content-encoding"), decode(body)) == (path, header, BYTES)
        assert (seen["api-key"], seen["x"], seen["content-type"]) == ("secret one", "y", "application/x-protobuf")


@pytest.mark.parametrize(
    ("status", "headers", "answer"),
    [
        (503, {}, 0.0),
        (429, {"Retry-After": "7"}, 7.0),
        (502, {"Retry-After": "nonsense"}, 0.0),
        (504, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        (400, {}, None),
        (401, {}, None),
        (500, {}, None),
        (200, {}, None),
        (302, {}, None),
    ],
)
def test_http_tells_not_now_from_never(receiver: Receiver, status: int, headers: dict[str, str], answer: float | None) -> None:
    """What the protocol calls retryable is tried again, after the time that the receiver asks for; everything else is done with."""
    receiver.answers.append((status, headers, b""))
    assert HTTPSender({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}).send(BYTES, 1) == answer


def test_a_receiver_that_is_not_there_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is two lines in a log, its beginning and its end, and no password among them."""
    closed = Receiver()
    closed.close()
    way = HTTPSender({"OTEL_EXPORTER_OTLP_ENDPOINT": closed.endpoint.replace("//", "//user:secret@")})
    assert [way.send(BYTES, 1) for _ in range(3)] == [0.0] * 3
    assert len(caplog.records) == 1
    assert "They wait in the queue." in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_of_grpc_is_recognised(caplog: pytest.LogCaptureFixture) -> None:
    """Spans sent by HTTP to a real gRPC server, on whatever port: one warning names the variable to set, and the spans wait."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        way = HTTPSender({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
        assert [way.send(BYTES, 1) for _ in range(3)] == [0.0, 0.0, 0.0]
    finally:
        server.stop(None).wait()
    [record] = caplog.records
    assert f"127.0.0.1:{port} speaks gRPC" in record.getMessage()
    assert "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in record.getMessage()


def test_what_a_receiver_refuses_is_said(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Spans that a receiver does not take, all or some of a request, are no silent loss; an answer that is no OTLP is none."""
    way = HTTPSender({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
    receiver.answers += [(400, {}, b""), (200, {}, PARTIAL), (200, {}, b"{}")]
    assert [way.send(BYTES, 5) for _ in range(3)] == [None] * 3
    refused, partial = [record.getMessage() for record in caplog.records]
    assert "refused spans: 5 (400" in refused
    assert "refused spans: 3 (too old)" in partial


# -- over gRPC -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any], list[tuple[Any, str]]]]:
    """A receiver of OTLP over gRPC: its address, the requests with their metadata, and the codes it answers with next."""
    seen: list[Any] = []
    answers: list[tuple[Any, str]] = []

    def export(request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        seen.append((request, dict(context.invocation_metadata())))
        if answers:
            code, details = answers.pop(0)
            if details == "in 3 s":
                info = RetryInfo(retry_delay=Duration(seconds=3))
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
            context.abort(code, details)
        return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 100_000)])
    method = grpc.unary_unary_rpc_method_handler(
        export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", seen, answers
    server.stop(None)


def test_grpc_sends_what_http_sends(collector: tuple[str, list[Any], list[tuple[Any, str]]]) -> None:
    """The bytes are the request; headers are metadata; retryable codes are tried again on a new connection, others are not."""
    endpoint, seen, answers = collector
    way = sender("grpc", {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret"})
    assert way.send(BYTES, 1) is None
    assert seen[0][0] == REQUEST
    assert seen[0][1]["api-key"] == "secret"
    answers += [
        (grpc.StatusCode.UNAVAILABLE, "later"),
        (grpc.StatusCode.ABORTED, ""),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "in 3 s"),
        (grpc.StatusCode.INVALID_ARGUMENT, "no"),
    ]
    assert [way.send(BYTES, 1) for _ in range(5)] == [0.0, 0.0, 3.0, None, None]
    way.close()


def test_a_request_that_is_too_large_for_its_receiver_is_not_tried_without_end(
    collector: tuple[str, list[Any], list[tuple[Any, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    """It would hold up all that comes after it: it is dropped and said, and the next one is taken."""
    endpoint, seen, _ = collector
    way = sender("grpc", {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    too_large = ExportTraceServiceRequest(resource_spans=[ResourceSpans(schema_url="x" * 200_000)]).SerializeToString()
    assert way.send(too_large, 7) is None
    assert "refused spans: 7 (RESOURCE_EXHAUSTED" in caplog.text
    assert way.send(BYTES, 1) is None
    assert len(seen) == 1
    way.close()


def test_a_bare_host_and_port_means_tls_unless_it_is_said_to_be_insecure(
    collector: tuple[str, list[Any], list[tuple[Any, str]]],
) -> None:
    """The scheme decides; without one the variable does, and its absence means TLS."""
    endpoint, seen, _ = collector
    bare = endpoint.removeprefix("http://")
    assert GRPCSender({"OTEL_EXPORTER_OTLP_ENDPOINT": bare, "OTEL_EXPORTER_OTLP_INSECURE": "true"}).send(BYTES, 1) is None
    assert GRPCSender({"OTEL_EXPORTER_OTLP_ENDPOINT": bare, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}).send(BYTES, 1) is not None
    assert len(seen) == 1


# -- which path ------------------------------------------------------------------------------------------------------------------------

OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "local", "reason"),
    [
        (OTLP, False, ""),
        (OTLP | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False, ""),
        ({}, True, ""),
        ({}, False, "they go nowhere"),
        (OTLP | {"OTEL_TTS_DIRECT": "false"}, False, "OTEL_TTS_DIRECT is false"),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, False, "they go to more than one exporter"),
        ({"OTEL_TRACES_EXPORTER": "console"}, False, "console is an exporter of its own"),
        (OTLP | {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}, False, "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED is true"),
        (
            OTLP | {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "mine"},
            False,
            "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER is set",
        ),
        (OTLP | {"OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": "mine"}, False, ""),
    ],
)
def test_the_path_of_spans_has_a_reason(environ: dict[str, str], local: bool, reason: str) -> None:
    """Where anything on the way is not ours the SDK's path is taken, and people can be told why."""
    loaded = Settings.load(environ)
    path = path_of_spans(destinations("traces", loaded, local=local, environ=environ), loaded, environ)
    assert path.reason == reason
    assert path.is_direct is (not reason)
    assert str(path) == ("direct" if not reason else f"the SDK's: {reason}")


# -- whole processes -------------------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
import otel_tts
from otel_tts import semconv
from opentelemetry import trace

pipeline = otel_tts.configure(logs=False)
tracer = trace.get_tracer(semconv.SCOPE)
def serve(count):
    for _ in range(count):
        tracer.start_span("request").end()
serve(5)
children = []
for number in range(1, 4):
    if (child := os.fork()) == 0:
        serve(10 * number)
        {ending}
    children.append(child)
serve(2)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("ending", ["sys.exit()", "pipeline.shutdown(); os._exit(0)"], ids=["exit", "_exit"])
@pytest.mark.parametrize("direct", ["true", "false"])
def test_forked_children_send_their_own(receiver: Receiver, ending: str, direct: str) -> None:
    """Every process sends what it recorded, once, under an identity of its own; both paths alike."""
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.endpoint, "OTEL_TTS_DIRECT": direct}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM.format(ending=ending)]
    subprocess.run(command, env=os.environ | environ, check=True, timeout=60)
    counts: dict[str, int] = {}
    for _, _, body in receiver.requests:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            spans = sum(len(scope.spans) for scope in resource.scope_spans)
            counts[names["service.instance.id"]] = counts.get(names["service.instance.id"], 0) + spans
    assert sorted(counts.values()) == [7, 10, 20, 30]


def test_the_end_of_a_process_sends_everything(receiver: Receiver) -> None:
    """A receiver that is away for a while, more spans than the SDK's queue takes, the end of the process: nothing is lost."""
    receiver.answers += [(503, {}, b"")] * 2
    program = """
import otel_tts
from otel_tts import semconv
from opentelemetry import trace
otel_tts.configure(logs=False)
tracer = trace.get_tracer(semconv.SCOPE)
for number in range(10_000):
    tracer.start_span(str(number)).end()
"""
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.endpoint, "OTEL_TTS_SHUTDOWN_TIMEOUT": "30"}
    subprocess.run([sys.executable, "-c", program], env=os.environ | environ, check=True, timeout=60)
    names = [
        span.name
        for (_, _, body), status in zip(receiver.requests, [503, 503, *[200] * len(receiver.requests)], strict=False)
        if status == 200
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(map(int, names)) == list(range(10_000))
