"""What a stream costs per chunk: the same chunks pulled bare and through ``tts.synthesis(…).stream(…)``, sync and async, in turns.

    python benchmarks/chunk.py [--chunks 2000] [--rounds 15]

Chunks are 100 ms of PCM16 at 22,050 Hz. The time of the request itself (its spans and metrics) is taken off by measuring a stream
without chunks; the analysis of the audio is in the figure, since it happens for every second of it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_tts import PCM16, Telemetry

RATE = 22050
CHUNK = (np.sin(np.arange(RATE // 10) * 0.1) * 8000).astype("<i2").tobytes()


def engine(chunks: int) -> Iterator[bytes]:
    for _ in range(chunks):
        yield CHUNK


async def aio_engine(chunks: int) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        yield CHUNK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    chunks = arguments.chunks
    tts = Telemetry(
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
    )

    def sync_bare(count: int) -> None:
        for _ in engine(count):
            pass

    def sync_measured(count: int) -> None:
        for _ in tts.synthesis("text", stream=True).stream(engine(count), "engine", audio=PCM16(RATE)):
            pass

    async def drain(stream: AsyncIterator[bytes]) -> None:
        async for _ in stream:
            pass

    def aio_bare(count: int) -> None:
        asyncio.run(drain(aio_engine(count)))

    def aio_measured(count: int) -> None:
        asyncio.run(drain(tts.synthesis("text", stream=True).stream(aio_engine(count), "engine", audio=PCM16(RATE))))

    def cpu(function: Callable[[int], None], count: int) -> float:
        began = time.process_time()
        function(count)
        return time.process_time() - began

    print(f"{'stack':8}{'bare us/chunk':>15}{'measured us/chunk':>19}{'added us/chunk':>16}")
    for name, bare, measured in (("sync", sync_bare, sync_measured), ("asyncio", aio_bare, aio_measured)):
        rows = []
        for _ in range(arguments.rounds):
            fixed_bare, fixed_measured = cpu(bare, 0), cpu(measured, 0)
            rows.append(((cpu(bare, chunks) - fixed_bare) / chunks, (cpu(measured, chunks) - fixed_measured) / chunks))
        median = [statistics.median(column) * 1e6 for column in zip(*rows, strict=True)]
        added = statistics.median((m - b) * 1e6 for b, m in rows)
        print(f"{name:8}{median[0]:15.2f}{median[1]:19.2f}{added:16.2f}")


if __name__ == "__main__":
    main()
