"""Bodies of aiobotocore's answers, in all ways of reading. Run by `test_aiobotocore.py`, where aiobotocore is installed."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiobotocore.response import AioHttpxStreamingBody, AioStreamingBody, AioStreamingBodyBase

from otel_tts.instrumentation.aiobotocore import AiobotocoreInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty, Observe
from tests.instrumentation.vendors import POLLY, aiobotocore_client

TEXT = "Hello there. How are you?"
PCM = bytes(range(10, 250)) * 100
BODIES = {"aiohttp": AioStreamingBody, "httpx": AioHttpxStreamingBody}


async def whole(body: Any) -> bytes:
    """All at once."""
    return bytes(await body.read())


async def in_reads(body: Any) -> bytes:
    """Some of it, nothing, then the rest."""
    first = await body.read(1000)
    assert await body.read(0) == b""
    assert body.tell() == len(first)
    return bytes(first + await body.read())


async def iterated(body: Any) -> bytes:
    """By the body itself."""
    return b"".join([piece async for piece in body])


async def following(body: Any) -> bytes:
    """By ``anext``."""
    pieces = []
    while piece := await anext(body, b""):
        pieces.append(piece)
    return b"".join(pieces)


async def in_chunks(body: Any) -> bytes:
    """Of a size."""
    return b"".join([piece async for piece in body.iter_chunks(777)])


async def into_a_buffer(body: Any) -> bytes:
    """Again and again."""
    buffer, pieces = bytearray(999), []
    while size := await body.readinto(buffer):
        pieces.append(bytes(buffer[:size]))
    return b"".join(pieces)


WAYS: dict[str, Callable[[Any], Awaitable[bytes]]] = {
    way.__name__: way for way in (whole, in_reads, iterated, following, in_chunks, into_a_buffer)
}


async def speak(faulty: Faulty, session: str, read: Callable[[Any], Awaitable[bytes]]) -> bytes:
    """One answer, read so and closed by a block."""
    async with (
        aiobotocore_client(faulty.url, session, retries={"total_max_attempts": 1}) as client,
        (await client.synthesize_speech(Text=TEXT, **POLLY))["AudioStream"] as body,
    ):
        return await read(body)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("session", BODIES)
async def test_all_ways_of_reading(
    capture_tts: Capture, observe: Observe, faulty: Faulty, session: str, way: Callable[[Any], Awaitable[bytes]]
) -> None:
    """The host gets the same bytes as without, and each of them is counted once."""
    faulty.pieces = [PCM, PCM]
    assert await speak(faulty, session, way) == PCM * 2
    assert capture_tts.syntheses() == []
    observe(AiobotocoreInstrumentor)
    assert await speak(faulty, session, way) == PCM * 2
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.delivered_duration"] == synthesis["tts.audio.duration"] == pytest.approx(len(PCM) / 16000)


@pytest.mark.parametrize("session", BODIES)
async def test_a_body_is_what_it_was(capture_tts: Capture, observe: Observe, faulty: Faulty, session: str) -> None:
    """Of the same class by name and by kind, and with what this has, before it is read and after."""
    observe(AiobotocoreInstrumentor)
    faulty.pieces = [PCM]

    async def look(body: Any) -> bytes:
        assert isinstance(body, BODIES[session])
        assert isinstance(body, AioStreamingBodyBase)
        assert (type(body).__name__, type(body).__module__) == (BODIES[session].__name__, BODIES[session].__module__)
        assert body.readable()
        assert body.raw_stream is not None
        with pytest.raises(TypeError):
            iter(body)
        data = bytes(await body.read())
        assert (await body.read(), body.readable()) == (b"", False)
        return data

    assert await speak(faulty, session, look) == PCM


@pytest.mark.parametrize("session", BODIES)
async def test_a_body_that_is_not_kept(capture_tts: Capture, observe: Observe, faulty: Faulty, session: str) -> None:
    """It lives as long as the host reads it, as without."""
    observe(AiobotocoreInstrumentor)
    faulty.pieces = [PCM]
    async with aiobotocore_client(faulty.url, session) as client:
        assert await (await client.synthesize_speech(Text=TEXT, **POLLY))["AudioStream"].read() == PCM
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] == pytest.approx(len(PCM) / 32000)


@pytest.mark.parametrize("session", BODIES)
@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_body_that_is_dropped(capture_tts: Capture, observe: Observe, faulty: Faulty, session: str, pieces: int) -> None:
    """Never read, or not to its end: the host has left, which is seen without a collection of cycles."""
    observe(AiobotocoreInstrumentor)
    faulty.pieces = [PCM]
    faulty.hangs.set()
    gc.disable()
    try:
        async with aiobotocore_client(faulty.url, session) as client:
            body = (await client.synthesize_speech(Text=TEXT, **POLLY))["AudioStream"]
            for _ in range(pieces):
                await body.read(1000)
            del body
            [synthesis] = capture_tts.syntheses()
    finally:
        gc.enable()
    assert synthesis.outcome == "cancelled"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(pieces * 1000 / 32000)


async def test_other_calls_are_left_alone(capture_tts: Capture, observe: Observe, faulty: Faulty) -> None:
    """Speech marks are no audio, and other services no speech."""
    observe(AiobotocoreInstrumentor)
    faulty.pieces = [b"{}"]
    async with aiobotocore_client(faulty.url, "aiohttp") as client:
        marks = await client.synthesize_speech(Text=TEXT, VoiceId="Amy", OutputFormat="json")
        assert type(marks["AudioStream"]) is AioStreamingBody
        assert await marks["AudioStream"].read() == b"{}"
        assert not hasattr(client, "start_speech_synthesis_stream"), "if it comes, it is to be observed"
    assert capture_tts.syntheses() == []
