"""Speech over the WebSockets of aiohttp without an SDK, against a local server of the protocols with a real engine."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aiohttp.web
import pytest

from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.instrumentation.sockets.aiohttp import AiohttpSocketsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe
from tests.instrumentation.speech_sockets import RATE, SpeechSockets

PIECES = ("Good morning. ", "How are ", "you today?")
TEXT = "".join(PIECES)
PATHS = {
    "elevenlabs": "/v1/text-to-speech/rachel/multi-stream-input?output_format=pcm_24000&model_id=eleven_flash_v2_5",
    "cartesia": "/tts/websocket?cartesia_version=2025-04-16",
    "deepgram": "/v1/speak?encoding=linear16&sample_rate=24000&model=aura-2-thalia-en",
    "deepgram flux": "/v2/speak?encoding=linear16&sample_rate=24000&model=flux-alexis-en",
    "elevenlabs dialogue": "/v1/text-to-dialogue/multi-stream-input?output_format=pcm_24000&model_id=eleven_v3_conversational",
}
ENDS = ("done", "error", "Error", "Flushed", "Cleared")
FLUX_ENDS = ("SpeechMetadata", "SpeechInterrupted", "Error")  # there `Flushed` only says that the text has come
CARTESIA: dict[str, Any] = {
    "model_id": "sonic-3", "voice": {"id": "katie"}, "language": "en",
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE},
}  # fmt: skip


def messages(name: str, context: str) -> Iterator[dict[str, Any]]:
    """What is sent for an utterance, up to its end."""
    if name == "elevenlabs dialogue":
        yield {"context_id": context, "voices": ["rachel"]}
    for piece in PIECES:
        yield {
            "elevenlabs": {"text": piece, "context_id": context},
            "cartesia": CARTESIA | {"transcript": piece, "context_id": context, "continue": True},
            "deepgram": {"type": "Speak", "text": piece},
            "deepgram flux": {"type": "Speak", "text": piece},
            "elevenlabs dialogue": {"context_id": context, "inputs": [{"text": piece, "voice_id": "rachel"}]},
        }[name]
    yield {
        "elevenlabs": {"context_id": context, "close_context": True},
        "cartesia": CARTESIA | {"transcript": "", "context_id": context, "continue": False},
        "deepgram": {"type": "Flush"},
        "deepgram flux": {"type": "Flush"},
        "elevenlabs dialogue": {"context_id": context, "close_context": True},
    }[name]


def read(message: aiohttp.WSMessage, name: str) -> tuple[bytes, bool]:
    """The audio of a message, and whether it is the last one of its utterance."""
    if message.type is aiohttp.WSMsgType.BINARY:
        return bytes(message.data), False
    if message.type is not aiohttp.WSMsgType.TEXT:
        return b"", True
    fields = json.loads(message.data)
    audio = base64.b64decode(fields.get("audio") or (fields.get("data") if fields.get("type") == "chunk" else None) or "")
    ends = FLUX_ENDS if name == "deepgram flux" else ENDS
    over = fields.get("isFinal") or fields.get("is_final") or fields.get("error") or fields.get("type") in ends
    return audio, bool(over)


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url + PATHS[name]) as connection:
        yield connection


async def send_utterance(connection: aiohttp.ClientWebSocketResponse, name: str, context: str) -> None:
    """One utterance is sent."""
    for message in messages(name, context):
        await connection.send_json(message)


async def received_audio(connection: aiohttp.ClientWebSocketResponse, name: str, most: int = 1000) -> bytes:
    """The audio of an utterance, to its end or to so many pieces."""
    audio = b""
    while most > 0:
        piece, over = read(await connection.receive(timeout=20), name)
        audio, most = audio + piece, most - bool(piece)
        if over:
            break
    return audio


def provider_of(name: str) -> str:
    """Whose protocol it is."""
    return name.partition(" ")[0]


def seconds(audio: bytes) -> float:
    """Its length."""
    return len(audio) / 2 / RATE


each = pytest.mark.parametrize("name", PATHS)


@each
def test_two_utterances_on_one_connection(
    name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture, price: Callable[[str], None]
) -> None:
    """Each is a request of its own, with what the provider made; opening the connection is counted once."""
    price(provider_of(name))
    observe(AiohttpSocketsInstrumentor)

    async def run() -> list[bytes]:
        async with connected(provider.url, name) as connection:
            audio = []
            for context in ("a", "b"):
                await send_utterance(connection, name, context)
                audio.append(await received_audio(connection, name))
            return audio

    received = asyncio.run(run())
    syntheses = capture_tts.syntheses(outcome="ok")
    assert len(syntheses) == len(capture_tts.syntheses()) == 2
    for synthesis, audio in zip(syntheses, received, strict=True):
        assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))
        assert (synthesis["gen_ai.provider.name"], synthesis["tts.text.length"]) == (provider_of(name), len(TEXT))
        assert synthesis["tts.usage.cost"] == pytest.approx(4e-6 * len(TEXT))
    assert [synthesis.attempts[0]["tts.connection.reused"] for synthesis in syntheses] == [False, True]
    assert [span.name for span in capture_tts.spans].count("tts.connect") == 1


STOPS = {
    "cartesia": {"context_id": "a", "cancel": True},
    "deepgram": {"type": "Clear"},
    "deepgram flux": {"type": "Interrupt"},
}


@pytest.mark.parametrize("name", STOPS)
def test_an_interruption(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """The provider is told to stop: cancelled, with its reason and what came before."""
    observe(AiohttpSocketsInstrumentor)

    async def run() -> bytes:
        async with connected(provider.url, name) as connection:
            provider.hold.clear()
            await send_utterance(connection, name, "a")
            audio = await received_audio(connection, name, 1)
            await connection.send_json(STOPS[name])
            provider.hold.set()
            return audio + await received_audio(connection, name)

    audio = asyncio.run(run())
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.cancel.reason"] == "interrupted"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))


@each
@pytest.mark.parametrize(("fault", "error_type"), [("error", "server_error"), ("lost", "connection"), ("closed", "connection")])
def test_what_breaks_in_the_middle(
    name: str, fault: str, error_type: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """An error of the server, a lost connection, and a close without an end: partial, with what came before."""
    observe(AiohttpSocketsInstrumentor)

    async def run() -> bytes:
        async with connected(provider.url, name) as connection:
            provider.fault = fault
            await send_utterance(connection, name, "a")
            return await received_audio(connection, name)

    audio = asyncio.run(run())
    synthesis = capture_tts.synthesis(outcome="partial")
    assert (synthesis["error.type"], synthesis.attempts[0].outcome) == (error_type, "partial")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))


@each
@pytest.mark.parametrize("how", ["refused", "forbidden"])
def test_a_connection_that_cannot_be_opened(
    name: str, how: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """The host gets aiohttp's exception; why stands in the connections, and there was no utterance."""
    observe(AiohttpSocketsInstrumentor)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    provider.refuse = how == "forbidden"

    async def run() -> None:
        async with connected(gone if how == "refused" else provider.url, name):
            raise AssertionError

    with pytest.raises(aiohttp.ClientError):
        asyncio.run(run())
    error_type = {"refused": "connection", "forbidden": "unauthorized"}[how]
    assert capture_tts.syntheses() == []
    assert (
        capture_tts.total("tts.connection.open.duration", {"gen_ai.provider.name": provider_of(name), "error.type": error_type})
        == 1
    )


@each
def test_patience_and_a_host_that_leaves(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """A host's timeout, and a task of its own that is cancelled, are no end; closing the connection is: cancelled, by the caller."""
    observe(AiohttpSocketsInstrumentor)

    async def run() -> bytes:
        async with connected(provider.url, name) as connection:
            provider.hold.clear()
            await send_utterance(connection, name, "a")
            audio = await received_audio(connection, name, 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.receive(), 0.05)
            assert capture_tts.syntheses() == []
            return audio

    audio = asyncio.run(run())
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.cancel.reason"] == "caller"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))


def test_inside_a_request_of_the_application(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """In an open Synthesis an utterance is its attempt; in an attempt of the application it is nothing more."""
    observe(AiohttpSocketsInstrumentor)
    telemetry = capture_tts.telemetry()

    async def run() -> None:
        async with connected(provider.url, "cartesia") as connection:
            with telemetry.synthesis(TEXT, stream=True):
                await send_utterance(connection, "cartesia", "a")
                await received_audio(connection, "cartesia")
            with telemetry.synthesis(TEXT) as synthesis, synthesis.attempt("mine"):
                await send_utterance(connection, "cartesia", "b")
                await received_audio(connection, "cartesia")

    asyncio.run(run())
    assert [[attempt.provider for attempt in synthesis.attempts] for synthesis in capture_tts.syntheses()] == [
        ["cartesia"],
        ["mine"],
    ]


def test_other_sockets_are_left_alone(observe: Observe, capture_tts: Capture) -> None:
    """A WebSocket of no known protocol is not looked at, and afterwards all functions are what they were."""
    before = aiohttp.ClientWebSocketResponse.receive
    observe(AiohttpSocketsInstrumentor)
    assert aiohttp.ClientWebSocketResponse.receive is not before

    async def answer(request: aiohttp.web.BaseRequest) -> aiohttp.web.WebSocketResponse:
        response = aiohttp.web.WebSocketResponse()
        await response.prepare(request)
        await response.send_str((await response.receive_str()).upper())
        return response

    async def run() -> str:
        runner = aiohttp.web.ServerRunner(aiohttp.web.Server(answer))
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/v2/chat"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
            await connection.send_str("hello")
            got = await connection.receive_str()
        await runner.cleanup()
        return str(got)

    assert asyncio.run(run()) == "HELLO"
    assert capture_tts.spans == []


@pytest.mark.parametrize("name", ["cartesia", "elevenlabs"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_connections_of_livekit_s_plugins(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """Of a framework's connection the opening is a fact of its own; its utterances are counted once, also where it was opened ahead."""
    pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")
    from tests.instrumentation.test_livekit import plugin, spoken

    observe(LiveKitInstrumentor, AiohttpSocketsInstrumentor)

    async def run() -> None:
        async with plugin(name, provider.url) as voice:
            voice.prewarm()
            await asyncio.sleep(0.3)
            await spoken(voice)
            await spoken(voice)

    connections = provider.connections
    asyncio.run(run())
    assert [synthesis.outcome for synthesis in capture_tts.syntheses()] == ["ok", "ok"]
    opened = [span for span in capture_tts.spans if span.name == "tts.connect"]
    assert len(opened) == provider.connections - connections >= 1
    assert {dict(span.attributes or {})["gen_ai.provider.name"] for span in opened} == {name}
