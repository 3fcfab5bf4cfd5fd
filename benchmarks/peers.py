"""What instrumentations take for the same OpenAI call: ``audio.speech``, streamed, one second of PCM, from a transport in memory.

    python -m benchmarks.peers [--calls 300] [--rounds 5] [--environments build/peers] [--install]

Each runs in a process of its own, with all spans exported to the same sink; they take turns, round by round. The CPU time of a round
includes exporting what it recorded. Peers want other versions of OpenTelemetry than this project and one another, so each has a virtual
environment of its own, ``build/peers/NAME``, which ``--install`` makes; what has none is left out. All are under the Apache or MIT
licence.

Besides the cost, the table says what the sink has received, since an instrumentation that records nothing costs nothing.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

AUDIO = bytes(48_000)  # a second at 24 kHz
ROOT = Path(__file__).parents[1]


def bare() -> Any:
    return lambda: None


def otel_tts() -> Any:
    configure = importlib.import_module("otel_tts").configure
    pipeline = configure(logs=False)
    importlib.import_module("otel_tts.instrumentation.openai").OpenAIInstrumentor().instrument()
    return lambda: pipeline.flush(60)


def _provider() -> Any:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def logfire() -> Any:
    module = importlib.import_module("logfire")
    module.configure(send_to_logfire=False, console=False)
    module.instrument_openai()
    return module.force_flush


def openinference() -> Any:
    provider = _provider()
    importlib.import_module("openinference.instrumentation.openai").OpenAIInstrumentor().instrument(tracer_provider=provider)
    return provider.force_flush


def traceloop() -> Any:
    provider = _provider()
    importlib.import_module("opentelemetry.instrumentation.openai").OpenAIInstrumentor().instrument(tracer_provider=provider)
    return provider.force_flush


def openlit() -> Any:
    importlib.import_module("openlit").init(disable_batch=False, application_name="openlit")
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    return provider.force_flush


PACKAGES = {
    "logfire": ("logfire",),
    "openinference": ("openinference-instrumentation-openai", "opentelemetry-exporter-otlp-proto-http"),
    "traceloop": ("opentelemetry-instrumentation-openai", "opentelemetry-exporter-otlp-proto-http"),
    "openlit": ("openlit",),
}
"""What a peer's environment has besides ``openai``. Bare and otel-tts run in this one."""
PEERS = {f.__name__: f for f in (bare, otel_tts, logfire, openinference, traceloop, openlit)}


def serve(peer: str) -> None:
    """Make calls as they are asked for, a number a line; answer with the CPU microseconds of each."""
    flush = PEERS[peer]()
    import openai

    httpx: Any = importlib.import_module(
        "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
    )  # as the SDK's release wants
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=AUDIO, headers={"content-type": "audio/pcm"}))
    client = openai.OpenAI(api_key="none", http_client=httpx.Client(transport=transport))

    def call() -> None:
        create = client.audio.speech.with_streaming_response.create
        with create(model="tts-1", voice="alloy", input="Good morning.", response_format="pcm") as response:
            assert sum(map(len, response.iter_bytes(4800))) == len(AUDIO)

    print("ready", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        for _ in range(int(line)):
            call()
        flush()
        print(json.dumps((time.process_time() - began) / int(line) * 1e6), flush=True)


def interpreter(peer: str, environments: Path) -> str:
    """The Python of a peer's environment."""
    return str(environments / peer / "bin" / "python") if peer in PACKAGES else sys.executable


def install(environments: Path) -> None:
    """Make the environments that are not there yet, with the release of ``openai`` that is installed here."""
    openai = f"openai=={importlib.metadata.version('openai')}"
    for peer, packages in PACKAGES.items():
        if not Path(python := interpreter(peer, environments)).exists():
            subprocess.run([sys.executable, "-m", "venv", environments / peer], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", openai, *packages], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "peers", metavar="DIRECTORY")
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    from benchmarks import overhead

    if arguments.install:
        install(arguments.environments)
    sink, port = overhead.start("sink")
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for peer in PEERS:
            python = interpreter(peer, arguments.environments)
            if not Path(python).exists():
                print(f"{peer}: not installed", file=sys.stderr)
                continue
            environment = os.environ | overhead.exporting_to(port) | {"OTEL_SERVICE_NAME": peer}
            process = subprocess.Popen(
                [python, "-m", "benchmarks.peers", "--serve", peer],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=ROOT,
            )  # fmt: skip
            assert process.stdout is not None
            if "ready" in process.stdout.readline():
                running[peer] = process
            else:
                print(f"{peer}: does not start here", file=sys.stderr)
        took: dict[str, list[float]] = {peer: [] for peer in running}
        for number in range(arguments.rounds + 1):
            for peer, process in running.items():
                assert process.stdin is not None
                assert process.stdout is not None
                print(arguments.calls, file=process.stdin, flush=True)
                answer = json.loads(process.stdout.readline())
                if number:  # the first round warms up
                    took[peer].append(answer)
        counts = overhead.received(port)
    finally:
        for process in (sink, *running.values()):
            process.terminate()
            process.wait(10)
    calls = arguments.calls * (arguments.rounds + 1)
    print(f"{'instrumentation':18}{'CPU us/call':>13}{'added us':>10}{'spans/call':>12}")
    for peer, times in took.items():
        added = statistics.median(mine - base for mine, base in zip(times, took["bare"], strict=True))
        print(f"{peer:18}{statistics.median(times):13.0f}{added:10.0f}{counts.get(peer, 0) / calls:12.2f}")


if __name__ == "__main__":
    main()
