"""What telemetry costs a server, in CPU time of its process, on the hardest case: a unary RPC that finds tiny audio in memory.

    python benchmarks/overhead.py [--rounds 7] [--requests 2000] [--concurrency 4]

The servers run side by side, each in a process of its own, and take turns, round by round, so that a change of the machine's speed
hits all of them. The client and the sink for OTLP are other processes. A round's figure includes exporting what the round recorded;
the sink counts the spans of each variant's measured requests, so that none of them is cheap because it was dropped.

A busy machine makes CPU time itself longer (shared caches, the sibling thread of the core), and more so for those who work more. So
every turn begins with a fixed piece of work, whose CPU time stands in the table as *calibration*: where its rows differ by more than
some percent, the machine was too busy for the figures beside them.

bare        no telemetry, no interceptor
noop        an interceptor that does nothing: gRPC's own cost of having one is in every other variant too; the base of "added"
contrib     opentelemetry-instrumentation-grpc: one span, no metric; OTLP, batched
prometheus  hand-made prometheus_client: two counters, a gauge, a histogram, no span; scraped once a round
otel-tts    both spans, every metric, exemplars, all requests sampled; OTLP, batched
otel-tts-sdk  the same over the SDK's own path, see ``OTEL_TTS_DIRECT``
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
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

import grpc.aio

VARIANTS = ("bare", "noop", "contrib", "prometheus", "otel-tts", "otel-tts-sdk")
SPANS = {"contrib": 1, "otel-tts": 2, "otel-tts-sdk": 2}
"""Of one request."""
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


def noop() -> Variant:
    """What gRPC itself takes for calling an interceptor."""

    class Interceptor(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            return await continuation(handler_call_details)

    return speak, [Interceptor()], lambda: None


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


MAKE = {
    "bare": bare,
    "noop": noop,
    "contrib": contrib,
    "prometheus": prometheus,
    "otel-tts": otel_tts,
    "otel-tts-sdk": otel_tts,
}


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


def serve_sync(variant: str) -> None:
    """The same service on gRPC's threads, with telemetry or with an interceptor that does nothing."""
    methods: Any = {}
    interceptors: list[Any] = []
    if variant == "noop":

        class Interceptor(grpc.ServerInterceptor):
            def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
                return continuation(handler_call_details)

        interceptors = [Interceptor()]

        def speak_sync(request: bytes, context: Any) -> bytes:
            return CACHE[request]
    else:
        import otel_tts
        from otel_tts.grpc import server_interceptor

        otel_tts.configure()
        tts = otel_tts.Telemetry()
        pcm = otel_tts.PCM16(16000)
        interceptors = [server_interceptor(tts)]

        def speak_sync(request: bytes, context: Any) -> bytes:
            with tts.synthesis(text=request.decode(), voice="joe", language="en-US") as s:
                with s.lookup("memory") as lookup:
                    audio = lookup.found(CACHE.get(request), "piper", "joe-medium", audio=pcm)
                assert audio is not None
                return audio

    methods["Speak"] = grpc.unary_unary_rpc_method_handler(speak_sync)
    server = grpc.server(ThreadPoolExecutor(8), interceptors=interceptors)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Speech", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def resident() -> int:
    """Resident memory in bytes; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


# -- the sink --------------------------------------------------------------------------------------------------------------------------


class Sink(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP and counts the spans of requests by service; a GET gives the counts."""

    protocol_version = "HTTP/1.1"
    spans: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                # The benchmark's own questions are RPCs too: as spans received they would hide as many that were dropped.
                counted = sum(1 for scope in resource.scope_spans for span in scope.spans if not span.name.endswith("/Usage"))
                with Sink.lock:
                    Sink.spans[service] += counted
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(json.dumps(Sink.spans).encode())

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


def received(port: int) -> dict[str, int]:
    """The spans that the sink has taken, by service."""
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        counts: dict[str, int] = json.loads(answer.read())
    return counts


def exporting_to(port: int) -> dict[str, str]:
    """The environment of a process that exports to the sink."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        # The SDK's default queue of 2,048 spans would drop most of what a round makes, which is cheap but no figure.
        "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",
    }


# -- the client ------------------------------------------------------------------------------------------------------------------------


def start(*arguments: str, environment: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), *arguments], stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {})
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def load(channel: grpc.aio.Channel, requests: int, concurrency: int) -> None:
    stub: Any = channel.unary_unary("/bench.Speech/Speak")

    async def worker(count: int) -> None:
        for _ in range(count):
            assert await stub(TEXT) == AUDIO

    shares = [requests // concurrency + (number < requests % concurrency) for number in range(concurrency)]
    await asyncio.gather(*map(worker, shares))


async def measure(ports: dict[str, int], rounds: int, requests: int, concurrency: int) -> dict[str, list[dict[str, float]]]:
    figures: dict[str, list[dict[str, float]]] = {variant: [] for variant in ports}
    channels = {variant: grpc.aio.insecure_channel(f"127.0.0.1:{port}") for variant, port in ports.items()}
    for number in range(rounds + 1):
        for variant, channel in channels.items():
            calibration = calibrate()
            usage: Any = channel.unary_unary("/bench.Speech/Usage")
            before, began = json.loads(await usage(b"")), time.perf_counter()
            await load(channel, requests, concurrency)
            wall = time.perf_counter() - began
            after = json.loads(await usage(b""))
            if number:  # the first round warms up
                cpu = (after["cpu"] - before["cpu"]) / requests
                figures[variant].append(
                    {"cpu": cpu * 1e6, "wall": wall / requests * 1e6, "rss": after["rss"], "calibration": calibration}
                )
        print(f"round {number} of {rounds}", end="\r", file=sys.stderr, flush=True)
    return figures


def calibrate() -> float:
    """Milliseconds of CPU time that a fixed piece of work takes now."""
    began = time.process_time()
    sum(len(str(number)) for number in range(50_000))
    return (time.process_time() - began) * 1e3


def report(figures: dict[str, list[dict[str, float]]]) -> None:
    base = [f["cpu"] for f in figures["noop"]]
    print(f"{'variant':14}{'CPU us/request':>16}{'added us':>10}{'added / contrib':>17}{'requests/s':>12}{'calibration ms':>16}")
    added = {v: [f["cpu"] - b for f, b in zip(figures[v], base, strict=True)] for v in figures}
    for variant, rows in figures.items():
        cpu, wall, calibration = (statistics.median(f[key] for f in rows) for key in ("cpu", "wall", "calibration"))
        ratios = [a / c for a, c in zip(added[variant], added.get("contrib", base), strict=True)]
        ratio = f"{statistics.median(ratios):.2f}" if variant in SPANS and "contrib" in figures else ""
        print(f"{variant:14}{cpu:16.1f}{statistics.median(added[variant]):10.1f}{ratio:>17}{1e6 / wall:12.0f}{calibration:16.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--sync", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("role", nargs="?", choices=["serve", "sink"])
    parser.add_argument("variant", nargs="?", choices=VARIANTS)
    arguments = parser.parse_args()
    if arguments.role == "serve":
        if arguments.sync:
            serve_sync(arguments.variant)
        else:
            asyncio.run(serve(arguments.variant))
        return
    if arguments.role == "sink":
        sink()
        return
    variants = list(dict.fromkeys(["noop", *arguments.variants.split(",")]))
    processes = []
    try:
        process, sink_port = start("sink")
        processes.append(process)
        ports = {}
        for variant in variants:
            environment = exporting_to(sink_port) | {"OTEL_SERVICE_NAME": variant}
            if variant.endswith("-sdk"):
                environment["OTEL_TTS_DIRECT"] = "false"
            process, ports[variant] = start("serve", variant, environment=environment)
            processes.append(process)
        report(asyncio.run(measure(ports, arguments.rounds, arguments.requests, arguments.concurrency)))
        counts = received(sink_port)
        for variant in (v for v in variants if v in SPANS):
            made = SPANS[variant] * (arguments.rounds + 1) * arguments.requests
            print(f"{variant}: {counts.get(variant, 0)} of {made} spans received")
    finally:
        for process in reversed(processes):  # the sink last: what the others export at their end has somewhere to go
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    main()
