"""What a missing Collector costs the callers: latency beside one that works, is absent, was killed, hangs.

    python benchmarks/pipeline.py [--rounds 7] [--requests 300]

Five services run side by side, each `otel-tts serve` in a process of its own, and take turns, round by round. Two of them have a Collector
that works: how far these two lie apart is what the others' distance has to be compared with. Every request finds its audio in
the service's memory, so that nothing hides what telemetry adds. Needs the Collector of `make tools`.

works       a Collector that takes everything
works too   the same one
absent      nobody has ever listened there
killed      its Collector was killed after a first round
hung        its Collector was stopped (SIGSTOP) after a first round: connections stand, and nothing answers
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import grpc

from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
COLLECTORS = {"works": "works", "works too": "works", "absent": None, "killed": "killed", "hung": "hung"}
"""The services, and the Collector that each sends to."""
TEXT = "Good morning, this is your captain speaking."


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start_collector(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """One that keeps all it gets on disk: its backends are away."""
    binary = shutil.which("otelcol-tts", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        raise SystemExit("otelcol-tts is neither in .tools/bin nor on PATH: `make tools` builds it.")
    port, health = free_port(), free_port()
    environ = {
        "OTLP_GRPC_PORT": str(port),
        "OTLP_HTTP_PORT": str(free_port()),
        "HEALTH_PORT": str(health),
        "QUEUE_DIR": str(directory),
        "METRICS_OTLP_URL": f"http://127.0.0.1:{free_port()}",
        "TRACES_OTLP_URL": f"http://127.0.0.1:{free_port()}",
    }
    command = [binary, f"--config={ROOT / 'collector' / 'config.yaml'}"]
    process = subprocess.Popen(command, env=os.environ | environ, stderr=subprocess.DEVNULL)
    while True:
        try:
            urlopen(f"http://127.0.0.1:{health}", timeout=1).close()
            return process, port
        except (URLError, OSError):
            time.sleep(0.05)


def start_service(directory: Path, collector_port: int) -> tuple[subprocess.Popen[bytes], Any]:
    """One that speaks from memory after the first request, and its stub."""
    port = free_port()
    environ = {
        "TTS_PORT": str(port),
        "PROMETHEUS_PORT": str(free_port()),
        "TTS_PROVIDERS": "espeak",
        "TTS_PROBE_INTERVAL": "0",
        "OTEL_TTS_DATA_DIR": str(directory),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector_port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }
    command = [sys.executable, "-c", "from otel_tts.cli import main; main()", "serve"]
    process = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stub = tts_pb2_grpc.TextToSpeechStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    stub.Synthesize(tts_pb2.SynthesizeRequest(text=TEXT), wait_for_ready=True, timeout=60)
    return process, stub


def latencies(stub: Any, requests: int) -> list[float]:
    """The milliseconds of so many calls, one after the other."""
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        stub.Synthesize(tts_pb2.SynthesizeRequest(text=TEXT), timeout=30)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(rounds: Mapping[str, list[list[float]]]) -> None:
    """Medians over the rounds, and each service's distance from `works`, taken round by round."""
    print(
        f"{'Collector':12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}{'p50 against works':>20}   round by round, from to"
    )
    for name, measured in rounds.items():
        p50, p95, p99 = (statistics.median(quantile(values, share) for values in measured) for share in (0.5, 0.95, 0.99))
        highest = max(max(values) for values in measured)
        paired = [quantile(v, 0.5) / quantile(w, 0.5) - 1 for v, w in zip(measured, rounds["works"], strict=True)]
        against = "" if name == "works" else f"{statistics.median(paired):+20.1%}   {min(paired):+.1%} to {max(paired):+.1%}"
        print(f"{name:12}{p50:9.2f}{p95:9.2f}{p99:9.2f}{highest:9.1f}{against}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            collectors = {}
            for name in ("works", "killed", "hung"):
                collectors[name] = start_collector(Path(directory, name))
                processes.append(collectors[name][0])
            stubs = {}
            for name, collector in COLLECTORS.items():
                port = collectors[collector][1] if collector else free_port()
                process, stubs[name] = start_service(Path(directory, "data", name), port)
                processes.append(process)
            for stub in stubs.values():
                latencies(stub, arguments.requests)
            collectors["killed"][0].kill()
            collectors["hung"][0].send_signal(signal.SIGSTOP)
            rounds: dict[str, list[list[float]]] = {name: [] for name in stubs}
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", end="\r", file=sys.stderr, flush=True)
                for name, stub in stubs.items():
                    rounds[name].append(latencies(stub, arguments.requests))
            report(rounds)
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
