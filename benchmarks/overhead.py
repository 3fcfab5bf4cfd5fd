"""What telemetry costs a server, in CPU time of its process, on the hardest case: a unary RPC that finds tiny audio in memory.

    python benchmarks/overhead.py [--rounds 7] [--requests 2000] [--concurrency 4]

Four servers run side by side, each in a process of its own, and take turns, round by round, so that a change of the machine's speed
hits all of them. The client and the sink for OTLP are other processes. A round's figure includes exporting what the round recorded;
the sink counts spans, so that none of them is cheap because it was dropped.

bare        no telemetry
contrib     opentelemetry-instrumentation-grpc: one span, no metric; OTLP, batched
prometheus  hand-made prometheus_client: two counters, a gauge, a histogram, no span; scraped once a round
otel-tts    both spans, every metric, exemplars, all requests sampled; OTLP, batched
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc.aio

VARIANTS = ("bare", "contrib", "prometheus", "otel-tts")
TEXT = b"Good morning, this is your captain speaking."
AUDIO = bytes(640)  # 20 ms at 16 kHz
CACHE = {TEXT: AUDIO}

Handler = Callable[[bytes, Any], Awaitable[bytes]]
Variant = tuple[Handler, list[Any], Callable[[], object]]


# -- the servers -----------------------------------------------------------------------------------------------------------------------


async def speak(request: bytes, context: Any) -> bytes:
    """The service itself: audio from memory."""
    return CACHE[request]


def bare() -> Variant:
    return speak, [], lambda: None


def contrib() -> Variant:
    """As its documentation sets it up: batches to OTLP."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.grpc import aio_server_interceptor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    interceptor: Any = aio_server_interceptor
    return speak, [interceptor()], lambda: provider.force_flush(60_000)


def prometheus() -> Variant:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

    registry = CollectorRegistry()
    requests = Counter("tts_synthesis_requests", "Requests", ["provider", "language", "status"], registry=registry)
    hits = Counter("tts_model_cache_hits", "Hits", ["provider"], registry=registry)
    active = Gauge("tts_active", "Active", registry=registry)
    latency = Histogram("tts_synthesis_latency_seconds", "Latency", ["provider", "language"], registry=registry)

    async def counted(request: bytes, context: Any) -> bytes:
        began = time.perf_counter()
        active.inc()
        try:
            audio = await speak(request, context)
            hits.labels("piper").inc()
            requests.labels("piper", "en-US", "success").inc()
            return audio
        finally:
            active.dec()
            latency.labels("piper", "en-US").observe(time.perf_counter() - began)

    return counted, [], lambda: generate_latest(registry)


def otel_tts() -> Variant:
    import otel_tts
    from otel_tts.grpc import aio_server_interceptor

    pipeline = otel_tts.configure()
    tts = otel_tts.Telemetry()
    pcm = otel_tts.PCM16(16000)

    async def observed(request: bytes, context: Any) -> bytes:
        with tts.synthesis(text=request.decode(), voice="joe", language="en-US") as s:
            with s.lookup("memory") as lookup:
                audio = lookup.found(CACHE.get(request), "piper", "joe-medium", audio=pcm)
            assert audio is not None
            return audio

    return observed, [aio_server_interceptor(tts)], lambda: pipeline.flush(60)


MAKE = {"bare": bare, "contrib": contrib, "prometheus": prometheus, "otel-tts": otel_tts}


async def serve(variant: str) -> None:
    handler, interceptors, flush = MAKE[variant]()

    async def usage(request: bytes, context: Any) -> bytes:
        """The CPU seconds of this process, with everything recorded so far exported; and the resident memory."""
        await asyncio.to_thread(flush)
        return json.dumps({"cpu": time.process_time(), "rss": resident()}).encode()

    methods: Any = {"Speak": grpc.unary_unary_rpc_method_handler(handler), "Usage": grpc.unary_unary_rpc_method_handler(usage)}
    server = grpc.aio.server(interceptors=interceptors)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Speech", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def resident() -> int:
    """Resident memory in bytes; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


# -- the sink --------------------------------------------------------------------------------------------------------------------------


class Sink(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP and counts spans; a GET gives the count."""

    protocol_version = "HTTP/1.1"
    spans = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            with Sink.lock:
                Sink.spans += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(str(Sink.spans).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


def sink() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(server.server_port, flush=True)
    server.serve_forever()


# -- the client ------------------------------------------------------------------------------------------------------------------------


def start(*arguments: str, environment: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {})
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def load(channel: grpc.aio.Channel, requests: int, concurrency: int) -> None:
    stub: Any = channel.unary_unary("/bench.Speech/Speak")

    async def worker(count: int) -> None:
        for _ in range(count):
            assert await stub(TEXT) == AUDIO

    await asyncio.gather(*(worker(requests // concurrency) for _ in range(concurrency)))


async def measure(ports: dict[str, int], rounds: int, requests: int, concurrency: int) -> dict[str, list[dict[str, float]]]:
    figures: dict[str, list[dict[str, float]]] = {variant: [] for variant in ports}
    channels = {variant: grpc.aio.insecure_channel(f"127.0.0.1:{port}") for variant, port in ports.items()}
    for number in range(rounds + 1):
        for variant, channel in channels.items():
            usage: Any = channel.unary_unary("/bench.Speech/Usage")
            before, began = json.loads(await usage(b"")), time.perf_counter()
            await load(channel, requests, concurrency)
            wall = time.perf_counter() - began
            after = json.loads(await usage(b""))
            if number:  # the first round warms up
                cpu = (after["cpu"] - before["cpu"]) / requests
                figures[variant].append({"cpu": cpu * 1e6, "wall": wall / requests * 1e6, "rss": after["rss"]})
        print(f"round {number} of {rounds}", end="\r", file=sys.stderr, flush=True)
    return figures


def report(figures: dict[str, list[dict[str, float]]]) -> None:
    base = [f["cpu"] for f in figures["bare"]]
    print(f"{'variant':12}{'CPU us/request':>16}{'added us':>10}{'added / contrib':>17}{'requests/s':>12}")
    added = {v: [f["cpu"] - b for f, b in zip(figures[v], base, strict=True)] for v in figures}
    for variant, rows in figures.items():
        cpu = statistics.median(f["cpu"] for f in rows)
        wall = statistics.median(f["wall"] for f in rows)
        ratios = [a / c for a, c in zip(added[variant], added.get("contrib", base), strict=True)]
        ratio = "" if variant == "bare" or "contrib" not in figures else f"{statistics.median(ratios):.2f}"
        print(f"{variant:12}{cpu:16.1f}{statistics.median(added[variant]):10.1f}{ratio:>17}{1e6 / wall:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("role", nargs="?", choices=["serve", "sink"])
    parser.add_argument("variant", nargs="?", choices=VARIANTS)
    arguments = parser.parse_args()
    if arguments.role == "serve":
        asyncio.run(serve(arguments.variant))
        return
    if arguments.role == "sink":
        sink()
        return
    variants = arguments.variants.split(",")
    processes = []
    try:
        process, sink_port = start("sink")
        processes.append(process)
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": "bench",
            # The default queue of 2,048 spans would drop most of what a round makes, which is cheap but no figure.
            "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",
        }
        ports = {}
        for variant in variants:
            process, ports[variant] = start("serve", variant, environment=environment)
            processes.append(process)
        report(asyncio.run(measure(ports, arguments.rounds, arguments.requests, arguments.concurrency)))
        from urllib.request import urlopen

        total = (arguments.rounds + 1) * arguments.requests
        expected = total * (("contrib" in variants) + 2 * ("otel-tts" in variants))
        with urlopen(f"http://127.0.0.1:{sink_port}/", timeout=10) as answer:
            print(f"spans received: {int(answer.read())}, of the measured requests: {expected}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


if __name__ == "__main__":
    main()
