"""How many spans a Collector that hangs costs: SIGSTOP for 10 s while a process makes 1,000 requests a second.

    python -m benchmarks.pause [--rate 1000] [--pause 10] [--protocol grpc]

The Collector is the real one (`make tools`), with the repository's configuration; it sends on to a sink of this program, which keeps
the id of each span that came. Each request has three spans: one around it, the synthesis, the attempt. Both paths are measured; the
SDK's, with its queue of 2,048 spans, is what the direct one is compared with. A batch that the Collector took before it hung and
answered too late is sent again: that is not lost, but comes twice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.stack import Stack

ROOT = Path(__file__).parents[1]
SPANS = 3
"""Of a request."""
SERVE = """
import sys, time
from opentelemetry import trace
from otel_tts import PCM16, Telemetry, configure

AUDIO = bytes(4800)
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
pipeline = configure(logs=False)
telemetry, tracer = Telemetry(), trace.get_tracer("benchmark")
made, began = 0, time.monotonic()
print("ready", flush=True)
while (now := time.monotonic() - began) < seconds:
    while made < now * rate:
        with tracer.start_as_current_span("around it"):
            with telemetry.synthesis("Good morning, this is your captain speaking.", voice="joe", language="en-US") as synthesis:
                with synthesis.attempt("piper", model="joe") as attempt:
                    attempt.audio(AUDIO, PCM16(24000))
        made += 1
    time.sleep(0.002)
print(made, flush=True)
pipeline.flush(60)
pipeline.shutdown()
"""


class Sink(ThreadingHTTPServer):
    """What is behind the Collector: it counts span ids by service."""

    def __init__(self) -> None:
        self.ids: dict[str, Counter[bytes]] = {}
        ids, lock = self.ids, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                with lock:
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        [name] = (a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                        spans = (span.span_id for scope in resource.scope_spans for span in scope.spans)
                        ids.setdefault(name, Counter()).update(spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def measured(stack: Stack, sink: Sink, path: str, options: argparse.Namespace) -> str:
    """What became of the spans of one process, over one path."""
    endpoint = stack.otlp_grpc if options.protocol == "grpc" else stack.otlp_http
    environ = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": options.protocol,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": path,
        "OTEL_TTS_DIRECT": "true" if path == "direct" else "false",
    }
    around_s = 4.0
    command = [sys.executable, "-c", SERVE, str(options.rate), str(2 * around_s + options.pause)]
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(around_s)
    stack.collector.pause()
    time.sleep(options.pause)
    stack.collector.resume()
    made = int(process.stdout.readline())
    process.wait(120)
    ids = sink.ids.get(path, Counter[bytes]())
    still = -1
    while len(ids) not in (still, SPANS * made):  # until nothing more comes
        still = len(ids)
        time.sleep(3)
        ids = sink.ids.get(path, Counter[bytes]())
    rate = made / (2 * around_s + options.pause)
    return (
        f"{path:8}{made:>10,}{rate:>12,.0f}{SPANS * made:>10,}{SPANS * made - len(ids):>10,}{sum(ids.values()) - len(ids):>10,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000, help="requests a second")
    parser.add_argument("--pause", type=float, default=10, help="seconds")
    parser.add_argument("--protocol", choices=["grpc", "http/protobuf"], default="grpc")
    parser.add_argument("--paths", default="direct,sdk")
    options = parser.parse_args()
    sink = Sink()
    environ = {"TRACES_OTLP_URL": f"http://127.0.0.1:{sink.server_port}"}
    print(f"{'path':8}{'requests':>10}{'a second':>12}{'spans':>10}{'lost':>10}{'twice':>10}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory), environ=environ)
        with stack.closing:
            stack.collector.start()
            for path in options.paths.split(","):
                print(measured(stack, sink, path, options), flush=True)


if __name__ == "__main__":
    main()
