"""SIGTERM while audio is handed out: what a caller still gets is what is counted, though telemetry takes its time to leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tts import semconv

PIECE = 3200
"""Bytes of a piece: 0.1 s."""
SLOW_S = 0.4
"""Seconds that the receiver takes for a request: audio would go on for as long."""

START = """
import asyncio, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import grpc, grpc.aio
import otel_tts
from otel_tts import PCM16
from otel_tts.grpc import aio_server_interceptor, server_interceptor

otel_tts.configure(service_name="ending")
tts = otel_tts.Telemetry()
FORMAT = PCM16(16000)

def pieces():
    while True:
        time.sleep(0.02)
        yield bytes(3200)

async def apieces():
    while True:
        await asyncio.sleep(0.02)
        yield bytes(3200)

def handlers(stream, unary, late):
    return [grpc.method_handlers_generic_handler("test.Speech", {
        "Stream": grpc.unary_stream_rpc_method_handler(stream), "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Late": grpc.unary_stream_rpc_method_handler(late)})]

def say(port):
    print(port, flush=True)
"""
SYNC = """
def stream(request, context):
    with tts.synthesis("Hello", stream=True) as s:
        {measured}
            yield chunk

def unary(request, context):
    with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
        time.sleep(0.3)
        return attempt.audio(bytes(3200), FORMAT)

def late(request, context):
    with tts.synthesis("Hello", stream=True) as s:
        time.sleep(0.3)
        with s.attempt("piper") as attempt:
            yield from attempt.stream(pieces(), FORMAT)

server = grpc.server(ThreadPoolExecutor(8), handlers=handlers(stream, unary, late), interceptors=[server_interceptor(tts)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
say(port)
server.wait_for_termination()
"""
ASYNC = """
async def stream(request, context):
    async with tts.synthesis("Hello", stream=True) as s:
        {measured}
            yield chunk

async def unary(request, context):
    async with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
        await asyncio.sleep(0.3)
        return attempt.audio(bytes(3200), FORMAT)

async def late(request, context):
    async with tts.synthesis("Hello", stream=True) as s:
        await asyncio.sleep(0.3)
        async with s.attempt("piper") as attempt:
            async for chunk in attempt.stream(apieces(), FORMAT):
                yield chunk

async def main():
    server = grpc.aio.server(interceptors=[aio_server_interceptor(tts)])
    server.add_generic_rpc_handlers(handlers(stream, unary, late))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(port)
    await server.wait_for_termination()

asyncio.run(main())
"""
ATTEMPT = "with s.attempt('piper') as attempt:\n          for chunk in attempt.stream(pieces(), FORMAT):\n            "
CACHED = "if True:\n          for chunk in s.deliver(pieces(), FORMAT):\n            "
AIO_ATTEMPT = (
    "async with s.attempt('piper') as attempt:\n          async for chunk in attempt.stream(apieces(), FORMAT):\n            "
)
AIO_CACHED = "if True:\n          async for chunk in s.deliver(apieces(), FORMAT):\n            "
SERVERS = {
    "grpc, an engine": SYNC.replace("{measured}\n            yield", ATTEMPT + "yield"),
    "grpc, cached": SYNC.replace("{measured}\n            yield", CACHED + "yield"),
    "grpc.aio, an engine": ASYNC.replace("{measured}\n            yield", AIO_ATTEMPT + "yield"),
    "grpc.aio, cached": ASYNC.replace("{measured}\n            yield", AIO_CACHED + "yield"),
}


class Slow(ThreadingHTTPServer):
    """A receiver that takes its time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon_threads = True
        self.bodies: list[tuple[str, bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Slow

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SLOW_S)
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def served(program: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], grpc.Channel, Slow]]:
    """A server of its own process, a client's channel to it, and the receiver of its telemetry."""
    with Slow() as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        environ = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}", "OTEL_LOGS_EXPORTER": "none",
            "OTEL_TTS_SHUTDOWN_TIMEOUT": "20",
        }  # fmt: skip
        command = [sys.executable, "-c", START + program]
        with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
                    yield process, channel, receiver
            finally:
                process.kill()
        receiver.shutdown()


def spans(receiver: Slow, name: str) -> list[dict[str, Any]]:
    """The attributes of all spans of a name that arrived."""
    return [
        {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
        for path, body in receiver.bodies
        if path.endswith("traces")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.name == name
    ]


def delivered(receiver: Slow) -> float:
    """Seconds of audio that the metrics count as handed out, of the last export."""
    last: dict[str, float] = {}
    for path, body in receiver.bodies:
        if path.endswith("metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                    if metric.name == semconv.SYNTHESIS_AUDIO.name:
                        for point in metric.sum.data_points:
                            labels = {a.key: a.value.string_value for a in point.attributes}
                            last[json.dumps(labels, sort_keys=True)] = point.as_double
    return sum(value for labels, value in last.items() if "delivered" in labels)


def received(stream: Any) -> tuple[int, Callable[[], int]]:
    """The bytes of the first three messages, and what counts all until the stream breaks."""
    first = sum(len(next(stream)) for _ in range(3))

    def rest() -> int:
        count = first
        try:
            for message in stream:
                count += len(message)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - a stream ends by it only
        return count

    return first, rest


@pytest.mark.parametrize("server", SERVERS)
def test_what_callers_got_is_what_is_counted(tmp_path: Path, server: str) -> None:
    """Two streams: as many seconds as both clients received, though the server was alive for longer; then it ends by the signal."""
    with served(SERVERS[server], tmp_path) as (process, channel, receiver):
        streams = [received(channel.unary_stream("/test.Speech/Stream")(b"")) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        counts = [0, 0]

        def drain(number: int) -> None:
            counts[number] = streams[number][1]()

        threads = [threading.Thread(target=drain, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert process.wait(60) == -signal.SIGTERM
        seconds = [count / PIECE / 10 for count in counts]
        requests = spans(receiver, semconv.SYNTHESIS_SPAN.name)
        assert sorted(span[semconv.AUDIO_DELIVERED.key] for span in requests) == pytest.approx(sorted(seconds))
        assert {(span["tts.outcome"], span["error.type"]) for span in requests} == {("partial", "shutdown")}
        assert delivered(receiver) == pytest.approx(sum(seconds))


@pytest.mark.parametrize("kind", ["grpc", "grpc.aio"])
def test_an_answer_that_is_counted_as_stopped_is_not_sent(tmp_path: Path, kind: str) -> None:
    """A call that would be done while telemetry leaves: its client sees UNAVAILABLE, as its span says. No engine begins."""
    with served(SERVERS[f"{kind}, an engine"], tmp_path) as (process, channel, receiver):
        call = channel.unary_unary("/test.Speech/Unary").future(b"", timeout=60)
        late = channel.unary_stream("/test.Speech/Late")(b"")
        next(channel.unary_stream("/test.Speech/Stream")(b""))  # it has begun as well
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError):
            next(late)  # read at once: grpc forgets what came when the connection ends
        code = call.code()
        assert process.wait(60) == -signal.SIGTERM
        (rpc,) = spans(receiver, "test.Speech/Unary")
        assert rpc["rpc.response.status_code"] == code.name == "UNAVAILABLE"
