"""Traffic of the real service on local files: healthy, then with faults, then with other texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc
import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otel_tts import Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.report.window import Window
from otel_tts.sdk.store import Store
from otel_tts.service import ServiceConfig, serve
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.service.providers.config import EspeakSettings
from otel_tts.service.providers.espeak import Espeak
from otel_tts.service.speech import EngineRequest, Voice

SERVICE = "speech"
INTERVAL = 0.25
"""Seconds between exports of metrics."""

WORDS = (
    "apple", "bridge", "candle", "dolphin", "evening", "forest", "garden", "harbour", "island", "journey", "kitchen", "lantern",
    "mountain", "notebook", "orchard", "picture", "quarter", "river", "silver", "thunder", "umbrella", "village", "window", "yellow",
)  # fmt: skip


class Engine(Espeak):
    """eSpeak NG under a name of its own, with faults that can be switched on."""

    def __init__(self, name: str, voice: str) -> None:
        self.name = name  # type: ignore[misc]  # a class for each name would say no more
        super().__init__(EspeakSettings(voices=(voice,)))
        self.slower = 0.0
        """Seconds that each synthesis takes longer, for each character."""
        self.gain = 1.0
        self.failing = 0.0
        """The share of syntheses that fail."""
        self._chance = Random(name)

    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
        """As eSpeak NG does, but for the faults."""
        if self._chance.random() < self.failing:
            raise ConnectionError("out of order")
        time.sleep((0.0004 + self.slower) * len(text))
        for audio in super().speak(text, speech, voice):
            yield (np.frombuffer(audio, "<i2") * self.gain).astype("<i2").tobytes()


@dataclass(frozen=True)
class Speaker:
    """A running service and its engines by name."""

    engines: Mapping[str, Engine]
    stub: Any
    flush: Callable[[], object]

    async def traffic(
        self, count: int, seed: int, *, words: tuple[int, int] = (3, 12), shares: tuple[int, ...] = (1, 1, 1)
    ) -> Window:
        """That many requests, a quarter of them cache hits; gives the time that they took."""
        random = Random(seed)
        places = asyncio.Semaphore(3)
        names = list(self.engines)

        async def one(request: tts_pb2.SynthesizeRequest, *, stream: bool) -> None:
            async with places:
                try:
                    if stream:
                        async for _ in self.stub.SynthesizeStream(request):
                            pass
                    else:
                        await self.stub.Synthesize(request)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - one that fails as it was told to

        start, others = time.time(), UNDER_WAY.items()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                engine = self.engines[random.choices(names, shares)[0]]
                voice = engine.voices[0]
                text = " ".join(random.choices(WORDS, k=random.randint(*words))) if number % 4 else "Good evening."
                request = tts_pb2.SynthesizeRequest(
                    text=text.capitalize(),
                    voice=voice.id,
                    language=voice.language,
                    provider=engine.name,
                    no_cache=bool(number % 4),
                )
                group.create_task(one(request, stream=random.random() < 0.5))
        async with asyncio.timeout(60):  # a caller has its response before the service has counted the request
            while any(item not in others for item in UNDER_WAY.items()):  # noqa: ASYNC110 - nothing says when
                await asyncio.sleep(0.005)
        self.flush()
        end = time.time() + 0.01
        await asyncio.sleep(3 * INTERVAL)  # nothing else is in the exports around the edges
        self.flush()
        return Window(start - INTERVAL, end)


@asynccontextmanager
async def speaking(
    directory: Path, *, version: str = "1.0", service: str = SERVICE, sampler: Sampler = ALWAYS_ON
) -> AsyncIterator[Speaker]:
    """The real service with three engines, its telemetry in local files."""
    store = Store(directory, max_age_s=1e9, max_bytes=2**30)
    resource = Resource({"service.name": service, "service.version": version, "service.instance.id": f"{service}-{version}"})
    reader = PeriodicExportingMetricReader(store.metric_exporter(), export_interval_millis=INTERVAL * 1000)
    meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    tracers = TracerProvider(sampler, resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(store.span_exporter(), schedule_delay_millis=INTERVAL * 1000))
    engines = {name: Engine(name, voice) for name, voice in (("ada", "en-us"), ("bob", "en-gb"), ("cleo", "it"))}
    telemetry = Telemetry(meter_provider=meters, tracer_provider=tracers)
    config = ServiceConfig.load({}, port=0, probe_interval=0.0, stop_grace=0.0, circuit_failures=10**6)

    def flush() -> None:
        tracers.force_flush()
        meters.force_flush()

    async with (
        serve(config, telemetry, providers=list(engines.values())) as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        yield Speaker(engines, tts_pb2_grpc.TextToSpeechStub(channel), flush)
    tracers.shutdown()
    meters.shutdown()
