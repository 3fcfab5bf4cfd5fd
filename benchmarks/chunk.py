"""What a stream costs per chunk: the same chunks pulled bare and through ``tts.synthesis(…).stream(…)``, sync and async, in turns.

    python benchmarks/chunk.py [--chunks 2000] [--rounds 15]

Chunks are 100 ms at 22,050 Hz of what speech is like to a meter: half a second of silence, then syllables, noise and pauses, some of
it clipped. The time of the request itself (its spans and metrics) is taken off by measuring a stream without chunks; the analysis of
the audio is in the figure of PCM16, since it happens for every second of it, and not in that of mp3, which is not decoded.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_tts import PCM16, Telemetry
from otel_tts.audio import AudioFormat, Encoded

RATE = 22050
SECONDS = 20


def speech() -> list[bytes]:
    """Some seconds in chunks, the same every time."""
    moments = np.arange(RATE * SECONDS) / RATE
    syllables = np.clip(np.sin(2 * np.pi * 3 * moments), 0, 1) * (np.sin(2 * np.pi * 0.4 * moments) > -0.5) * (moments > 0.5)
    voice = sum(np.sin(2 * np.pi * 140 * harmonic * moments) / harmonic for harmonic in (1, 2, 3, 4))
    noise = np.random.default_rng(1).normal(0, 20, len(moments))
    samples = np.clip(syllables * voice * 20_000 + noise, -32768, 32767).astype("<i2")
    return [chunk.tobytes() for chunk in np.split(samples, SECONDS * 10)]


CHUNKS = speech()


def engine(chunks: int) -> Iterator[bytes]:
    for number in range(chunks):
        yield CHUNKS[number % len(CHUNKS)]


async def aio_engine(chunks: int) -> AsyncIterator[bytes]:
    for number in range(chunks):
        yield CHUNKS[number % len(CHUNKS)]


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

    def sync_measured(count: int, audio: AudioFormat) -> None:
        for _ in tts.synthesis("text", stream=True).stream(engine(count), "engine", audio=audio):
            pass

    async def drain(stream: AsyncIterator[bytes]) -> None:
        async for _ in stream:
            pass

    def aio_bare(count: int) -> None:
        asyncio.run(drain(aio_engine(count)))

    def aio_measured(count: int, audio: AudioFormat) -> None:
        asyncio.run(drain(tts.synthesis("text", stream=True).stream(aio_engine(count), "engine", audio=audio)))

    print(f"{'stack':8}{'audio':8}{'bare us/chunk':>15}{'measured us/chunk':>19}{'added us/chunk':>16}{'least':>8}")
    for name, bare, with_format in (("sync", sync_bare, sync_measured), ("asyncio", aio_bare, aio_measured)):
        for audio in (PCM16(RATE), Encoded("mp3")):
            print(f"{name:8}{audio.name:8}{compared(bare, partial(with_format, audio=audio), chunks, arguments.rounds)}")


def compared(bare: Callable[[int], None], measured: Callable[[int], None], chunks: int, rounds: int) -> str:
    """The rest of a row."""
    rows = []
    for _ in range(rounds):
        fixed_bare, fixed_measured = cpu(bare, 0), cpu(measured, 0)
        rows.append(((cpu(bare, chunks) - fixed_bare) / chunks, (cpu(measured, chunks) - fixed_measured) / chunks))
    median = [statistics.median(column) * 1e6 for column in zip(*rows, strict=True)]
    added = [(m - b) * 1e6 for b, m in rows]
    return f"{median[0]:15.2f}{median[1]:19.2f}{statistics.median(added):16.2f}{min(added):8.2f}"


def cpu(function: Callable[[int], None], count: int) -> float:
    began = time.process_time()
    function(count)
    return time.process_time() - began


if __name__ == "__main__":
    main()
