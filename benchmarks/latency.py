"""What callers notice of telemetry: how long a unary RPC takes under load, with telemetry and without, sync and aio.

    python -m benchmarks.latency [--rate 300] [--seconds 5] [--rounds 5]

The servers are those of ``overhead.py`` (tiny audio found in memory), each a process of its own; they take turns, round by round. The
client sends at a fixed rate, whatever the answers do, so that a server that stalls is not spared the requests that would have come
meanwhile: a request's time counts from when it was due. All stand on one machine, and what the client itself takes is in every row.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

import grpc.aio

from benchmarks import overhead

ROWS = ("aio noop", "aio otel-tts", "aio otel-tts-sdk", "sync noop", "sync otel-tts", "sync otel-tts-sdk")


async def load(channel: grpc.aio.Channel, rate: float, seconds: float) -> list[float]:
    """The milliseconds of each request."""
    stub: Any = channel.unary_unary("/bench.Speech/Speak")
    began = time.perf_counter()
    took: list[float] = []

    async def request(due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        assert await stub(overhead.TEXT) == overhead.AUDIO
        took.append((time.perf_counter() - due) * 1e3)

    await asyncio.gather(*(request(began + number / rate) for number in range(round(rate * seconds))))
    return took


async def measure(ports: dict[str, int], rate: float, seconds: float, rounds: int) -> dict[str, list[list[float]]]:
    channels = {row: grpc.aio.insecure_channel(f"127.0.0.1:{port}") for row, port in ports.items()}
    took: dict[str, list[list[float]]] = {row: [] for row in ports}
    for number in range(rounds + 1):
        for row, channel in channels.items():
            times = await load(channel, rate, seconds if number else 1)
            if number:  # the first round warms up
                took[row].append(times)
    return took


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    processes = []
    try:
        process, sink_port = overhead.start("sink")
        processes.append(process)
        ports = {}
        for row in ROWS:
            stack, variant = row.split()
            environment = overhead.exporting_to(sink_port) | {"OTEL_SERVICE_NAME": row}
            environment["OTEL_TTS_DIRECT"] = str(not variant.endswith("-sdk")).lower()
            process, ports[row] = overhead.start(
                "serve", variant, *(["--sync"] if stack == "sync" else []), environment=environment
            )
            processes.append(process)
        took = asyncio.run(measure(ports, arguments.rate, arguments.seconds, arguments.rounds))
    finally:
        for process in reversed(processes):  # the sink last: what the others export at their end has somewhere to go
            process.terminate()
            process.wait(10)
    print(f"{'server':20}{'p50 ms':>8}{'p99 ms':>8}{'p99 / noop':>12}")
    for row, rounds in took.items():
        base = took[f"{row.split()[0]} noop"]
        ratios = [quantile(mine, 0.99) / quantile(noop, 0.99) for mine, noop in zip(rounds, base, strict=True)]
        p50, p99 = (statistics.median(quantile(times, share) for times in rounds) for share in (0.5, 0.99))
        print(f"{row:20}{p50:8.2f}{p99:8.2f}{statistics.median(ratios):12.2f}")


if __name__ == "__main__":
    main()
