"""The examples, each over a real socket: what they answer, and what they tell of it."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import grpc
import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_websocket

from examples import agent_loop, starlette_stream, streaming_aio, streaming_sync, unary_aio, unary_sync, websocket_agent
from otel_tts.testing.capture import Capture
from tests.grpc.servers import connect, wait_for, wait_for_standstill

EXAMPLES = sorted(Path(starlette_stream.__file__).parent.glob("*.py"))
TEXT = "Hello there. How are you?"
RATE = 24_000
SECOND = b"\x00\x10" * RATE
# What the audio is like, which is the engine's affair.
QUALITY = {
    "tts.audio.loudness",
    "tts.audio.silence_ratio",
    "tts.audio.clipping_ratio",
    "tts.audio.speaking_rate",
    "tts.audio.trailing_silence",
    "tts.time_to_first_audio",
}
RPC = {"rpc.system.name": "grpc", "rpc.method": "example.Speech/Speak", "rpc.response.status_code": "OK"}
METHOD = RPC["rpc.method"]


def synthesize(*, stream: bool, **more: Any) -> dict[str, Any]:
    """The attributes of ``tts.synthesize`` that all examples share, and more: dots are written as ``__``."""
    return {
        "gen_ai.operation.name": "text_to_speech",
        "gen_ai.output.type": "speech",
        "gen_ai.request.stream": stream,
        "tts.voice": "heart",
        "tts.language": "en-US",
        "tts.text.length": len(TEXT),
        "tts.outcome": "ok",
        "tts.cache.result": "bypass",
        "tts.attempt.count": 1,
        "tts.fallback.used": False,
    } | {key.replace("__", "."): value for key, value in more.items()}


def attempt(*, stream: bool, **more: Any) -> dict[str, Any]:
    """The attributes of an attempt, and more."""
    return {
        "gen_ai.operation.name": "text_to_speech",
        "gen_ai.output.type": "speech",
        "gen_ai.request.stream": stream,
        "gen_ai.provider.name": "hibari",
        "gen_ai.request.model": "heart",
        "tts.attempt.reason": "initial",
        "tts.outcome": "ok",
    } | {key.replace("__", "."): value for key, value in more.items()}


def audio_of(seconds: float) -> dict[str, Any]:
    """The attributes of audio."""
    return {"tts.audio.format": "pcm16", "tts.audio.sample_rate": RATE, "tts.audio.duration": seconds}


def delivered(seconds: float) -> dict[str, Any]:
    """The attributes of audio that was handed out, and of who made it."""
    maker = {"gen_ai.provider.name": "hibari", "gen_ai.request.model": "heart"}
    return {**maker, **audio_of(seconds), "tts.audio.delivered_duration": seconds}


AT_ONCE = {"tts.real_time_factor": 0.0}
FIRST_CHUNK = {"gen_ai.response.time_to_first_chunk": 0.0}
"""The tests' clock stands still."""


def picture(capture: Capture, spans: int) -> list[Any]:
    """The tree of all spans when there are so many, without the attributes of quality."""
    wait_for(lambda: len(capture.spans) >= spans)

    def without(node: list[Any]) -> list[Any]:
        name, attributes, children = node
        return [name, {k: v for k, v in attributes.items() if k not in QUALITY}, [without(child) for child in children]]

    return [without(node) for node in capture.tree()]


def counts(capture: Capture) -> dict[str, dict[str, float]]:
    """The totals that an operator looks at, by what tells their points apart."""
    told_by = {
        "rpc.server.call.duration": "rpc.response.status_code",
        "tts.synthesis.requests": "tts.outcome",
        "tts.attempt.duration": "tts.outcome",
        "tts.cache.lookups": "tts.cache.lookup.result",
        "tts.synthesis.characters": "tts.characters.state",
        "tts.provider.fallbacks": "tts.fallback.from",
        "tts.synthesis.active": "gen_ai.request.stream",
    }
    metrics = capture.metrics()
    return {name: {a[key]: value for a, value in metrics[name]} for name, key in told_by.items() if name in metrics}


@functools.cache
def voice(example: Any) -> Any:
    """The example's engine, which takes a moment to load."""
    return example.Voice()


def speak(port: int, text: str = TEXT) -> bytes:
    """One unary RPC."""
    with connect(port) as channel:
        audio: bytes = channel.unary_unary(f"/{METHOD}", request_serializer=str.encode)(text)
        return audio


@contextlib.contextmanager
def serving(example: Any, *arguments: Any) -> Iterator[int]:
    """The server of a gRPC example; the asynchronous ones in a loop of their own."""
    if not asyncio.iscoroutinefunction(example.serve):
        server, port = example.serve(*arguments)
        yield port
        server.stop(0).wait()
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(example.serve(*arguments), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_unary_sync(capture_tts: Capture) -> None:
    """The first request is spoken, the second comes from the cache, the third is refused."""
    with serving(unary_sync, capture_tts.telemetry(), voice(unary_sync)) as port:
        audio = speak(port)
        assert speak(port) == audio
        with pytest.raises(grpc.RpcError, match="Send some words"):
            speak(port, "...")
        tree = picture(capture_tts, 7)
    seconds = len(audio) / 2 / RATE
    assert seconds > 1
    made = attempt(stream=False, **audio_of(seconds), **AT_ONCE)
    spoken = synthesize(stream=False, tts__cache__result="miss", **delivered(seconds), **AT_ONCE)
    hit = {"tts.cache.result": "hit", "tts.cache.tier": "memory", "tts.attempt.count": 0}
    nothing = {"tts.outcome": "rejected", "error.type": "invalid_input", "tts.text.length": 3, "tts.attempt.count": 0}
    assert tree == [
        [METHOD, RPC, [["tts.synthesize", spoken, [["text_to_speech heart", made, []]]]]],
        [METHOD, RPC, [["tts.synthesize", synthesize(stream=False, **delivered(seconds), **hit), []]]],
        [
            METHOD,
            RPC | {"rpc.response.status_code": "INVALID_ARGUMENT"},
            [["tts.synthesize", synthesize(stream=False, tts__audio__delivered_duration=0.0, **nothing), []]],
        ],
    ]
    assert counts(capture_tts) == {
        "rpc.server.call.duration": {"OK": 2, "INVALID_ARGUMENT": 1},
        "tts.synthesis.requests": {"ok": 2, "rejected": 1},
        "tts.attempt.duration": {"ok": 1},
        "tts.cache.lookups": {"miss": 1, "hit": 1},
        "tts.synthesis.characters": {"synthesized": len(TEXT), "cached": len(TEXT), "wasted": 3},
    }


def dead(text: str) -> bytes:
    """An engine that is not there."""
    raise ConnectionError(text)


DEAD = {"tts__outcome": "error", "error__type": "connection"}


def test_unary_aio(capture_tts: Capture) -> None:
    """The second engine makes good what the first one fails."""
    engines = {"dead": dead, "hibari": voice(unary_sync)}
    with serving(unary_aio, capture_tts.telemetry(), engines) as port:
        seconds = len(speak(port)) / 2 / RATE
        tree = picture(capture_tts, 4)
    several = {"tts.attempt.count": 2, "tts.fallback.used": True, "tts.fallback.providers": ("dead",)}
    first = attempt(stream=False, gen_ai__provider__name="dead", **DEAD)
    second = attempt(stream=False, tts__attempt__reason="fallback", **audio_of(seconds), **AT_ONCE)
    attempts = [["text_to_speech heart", first, []], ["text_to_speech heart", second, []]]
    spoken = synthesize(stream=False, **delivered(seconds), **several, **AT_ONCE)
    assert tree == [[METHOD, RPC, [["tts.synthesize", spoken, attempts]]]]
    assert counts(capture_tts) == {
        "rpc.server.call.duration": {"OK": 1},
        "tts.synthesis.requests": {"ok": 1},
        "tts.attempt.duration": {"error": 1, "ok": 1},
        "tts.provider.fallbacks": {"dead": 1},
        "tts.synthesis.characters": {"synthesized": len(TEXT)},
    }


def test_unary_aio_without_any_engine(capture_tts: Capture) -> None:
    """When all engines fail, so does the request, by the first one's fault."""
    with (
        serving(unary_aio, capture_tts.telemetry(), {"dead": dead}) as port,
        pytest.raises(grpc.RpcError, match="No engine could speak"),
    ):
        speak(port)
    tree = picture(capture_tts, 3)
    status = {"rpc.response.status_code": "UNAVAILABLE", "error.type": "UNAVAILABLE"}
    maker = {"gen_ai.provider.name": "dead", "gen_ai.request.model": "heart"}
    failed = synthesize(stream=False, tts__audio__delivered_duration=0.0, **maker, **DEAD)
    asked = attempt(stream=False, gen_ai__provider__name="dead", **DEAD)
    assert tree == [[METHOD, RPC | status, [["tts.synthesize", failed, [["text_to_speech heart", asked, []]]]]]]
    assert counts(capture_tts) == {
        "rpc.server.call.duration": {"UNAVAILABLE": 1},
        "tts.synthesis.requests": {"error": 1},
        "tts.attempt.duration": {"error": 1},
        "tts.synthesis.characters": {"wasted": len(TEXT)},
    }


@pytest.mark.parametrize("example", [streaming_sync, streaming_aio], ids=["sync", "aio"])
def test_streaming(example: Any, capture_tts: Capture) -> None:
    """The audio comes sentence by sentence, and is one request with one attempt."""
    with serving(example, capture_tts.telemetry(), voice(example)) as port, connect(port) as channel:
        chunks = list(channel.unary_stream(f"/{METHOD}", request_serializer=str.encode)(TEXT))
        tree = picture(capture_tts, 3)
    assert len(chunks) == 2
    seconds = sum(map(len, chunks)) / 2 / RATE
    flow = {"tts.stream.chunk.count": 2, **AT_ONCE}
    timing = {
        "tts.time_to_first_byte": 0.0,
        "tts.stream.underrun": 0.0,
        "tts.underrun.provider": 0.0,
        "tts.underrun.consumer": 0.0,
    }
    spoken = synthesize(stream=True, **delivered(seconds), **flow, **timing)
    made = attempt(stream=True, **audio_of(seconds), **flow) | FIRST_CHUNK
    assert tree == [[METHOD, RPC, [["tts.synthesize", spoken, [["text_to_speech heart", made, []]]]]]]
    assert counts(capture_tts) == {
        "rpc.server.call.duration": {"OK": 1},
        "tts.synthesis.requests": {"ok": 1},
        "tts.attempt.duration": {"ok": 1},
        "tts.synthesis.characters": {"synthesized": len(TEXT)},
    }


class Engine:
    """An engine for Starlette that gives a second of audio again and again, until it is told how to go on."""

    def __init__(self, *, seconds: int | None, then: Exception | None = None) -> None:
        self.seconds = seconds
        self.then = then
        self.given = 0
        self.closed = False

    async def __call__(self, text: str) -> AsyncIterator[bytes]:
        try:
            while self.seconds is None or self.given < self.seconds:
                self.given += 1
                yield SECOND
                await asyncio.sleep(0)
            if self.then is not None:
                raise self.then
            await asyncio.sleep(30)
        finally:
            self.closed = True


@contextlib.contextmanager
def serving_http(app: Any) -> Iterator[int]:
    """A real HTTP server, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def test_starlette(capture_tts: Capture) -> None:
    """A whole answer, and a refusal."""
    with serving_http(starlette_stream.create_app(capture_tts.telemetry(), voice(streaming_aio))) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/speech", content=TEXT)
        tree = picture(capture_tts, 2)
        refusal = httpx.post(f"http://127.0.0.1:{port}/speech", content="...")
    assert (answer.status_code, refusal.status_code) == (200, 400)
    seconds = len(answer.content) / 2 / RATE
    flow = {"tts.stream.chunk.count": 2, **AT_ONCE}
    timing = {
        "tts.time_to_first_byte": 0.0,
        "tts.stream.underrun": 0.0,
        "tts.underrun.provider": 0.0,
        "tts.underrun.consumer": 0.0,
    }
    made = attempt(stream=True, **audio_of(seconds), **flow) | FIRST_CHUNK
    spoken = synthesize(stream=True, **delivered(seconds), **flow, **timing)
    assert tree == [["tts.synthesize", spoken, [["text_to_speech heart", made, []]]]]
    first, refused = capture_tts.spans[1:]
    assert first.context is not None
    assert answer.headers["X-Trace-Id"] == f"{first.context.trace_id:032x}"
    nothing = {"tts.outcome": "rejected", "error.type": "invalid_input", "tts.text.length": 3, "tts.attempt.count": 0}
    assert dict(refused.attributes or {}) == synthesize(stream=True, tts__audio__delivered_duration=0.0, **nothing)
    assert counts(capture_tts) == {
        "tts.synthesis.requests": {"ok": 1, "rejected": 1},
        "tts.attempt.duration": {"ok": 1},
        "tts.synthesis.characters": {"synthesized": len(TEXT), "wasted": 3},
    }


def hang_up_while_the_engine_works(port: int, engine: Engine) -> None:
    """The server waits for the next chunk, and Starlette cancels that."""
    with httpx.stream("POST", f"http://127.0.0.1:{port}/speech", content=TEXT) as answer:
        assert len(next(answer.iter_bytes(len(SECOND)))) == len(SECOND)
        wait_for(lambda: engine.given == engine.seconds)


def hang_up_without_reading(port: int, engine: Engine) -> None:
    """The server waits for room to send, so Starlette drops the chunks and never closes them."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"POST /speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(TEXT)}\r\n\r\n{TEXT}".encode())
        wait_for_standstill(lambda: engine.given)


@pytest.mark.parametrize(
    ("hang_up", "seconds"), [(hang_up_while_the_engine_works, 2), (hang_up_without_reading, None)], ids=["pulling", "sending"]
)
def test_starlette_when_the_client_hangs_up(
    hang_up: Callable[[int, Engine], None], seconds: int | None, capture_tts: Capture
) -> None:
    """However Starlette takes it, the request is cancelled, its audio until then is known, and the engine stops."""
    engine = Engine(seconds=seconds)
    with serving_http(starlette_stream.create_app(capture_tts.telemetry(), engine)) as port:
        hang_up(port, engine)
        tree = picture(capture_tts, 2)
        wait_for(lambda: engine.closed)
    got = float(engine.given)
    flow: dict[str, Any] = {"tts.stream.chunk.count": engine.given, "tts.outcome": "cancelled"}
    timing = {
        "tts.time_to_first_byte": 0.0,
        "tts.stream.underrun": 0.0,
        "tts.underrun.provider": 0.0,
        "tts.underrun.consumer": 0.0,
    }
    cut = attempt(stream=True, **audio_of(got), **flow) | FIRST_CHUNK
    why = {"tts.cancel.reason": "caller"}
    spoken = synthesize(stream=True, **delivered(got), **flow, **timing) | why
    assert tree == [["tts.synthesize", spoken, [["text_to_speech heart", cut | why, []]]]]
    assert counts(capture_tts) == {
        "tts.synthesis.requests": {"cancelled": 1},
        "tts.attempt.duration": {"cancelled": 1},
        "tts.synthesis.characters": {"synthesized": len(TEXT)},
    }


def test_starlette_when_the_engine_breaks(capture_tts: Capture) -> None:
    """What was delivered before is what makes the outcome partial."""
    engine = Engine(seconds=1, then=TimeoutError())
    with (
        serving_http(starlette_stream.create_app(capture_tts.telemetry(), engine)) as port,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        httpx.post(f"http://127.0.0.1:{port}/speech", content=TEXT)
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"], synthesis["tts.audio.delivered_duration"]) == ("partial", "timeout", 1.0)
    assert counts(capture_tts)["tts.synthesis.requests"] == {"partial": 1}


class Client:
    """A client of the WebSocket example, which keeps all that it gets."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.seconds = 0.0  # of the current utterance

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def say(self, text: str) -> None:
        """Word by word, as a language model gives it."""
        for word in text.split(" "):
            self.send(text=f"{word} ")
        self.send(end=True)

    def hear(self, seconds: float) -> None:
        """Wait for that much audio."""
        while self.seconds < seconds:
            self.seconds += len(self.socket.recv(10)) / 2 / RATE

    def outcome(self) -> tuple[dict[str, str], float]:
        """Wait for the end of the utterance: what is said of it, and how much audio came."""
        while isinstance(message := self.socket.recv(10), bytes):
            self.seconds += len(message) / 2 / RATE
        seconds, self.seconds = self.seconds, 0.0
        return json.loads(message), seconds


@contextlib.contextmanager
def talking(telemetry: Any, engine: Any, ahead: float = 60.0) -> Iterator[Client]:
    """A connection of the conversation ``call-7`` to the WebSocket example."""
    with (
        serving_http(websocket_agent.create_app(telemetry, engine, ahead)) as port,
        connect_websocket(f"ws://127.0.0.1:{port}/speech?conversation=call-7", proxy=None) as connection,
    ):
        yield Client(connection)


def told_of(capture: Capture, number: int) -> list[Any]:
    """The syntheses, when there are so many, the first that ended first."""
    wait_for(lambda: len([span for span in capture.spans if span.name == "tts.synthesize"]) >= number, 10)
    return list(capture.syntheses())


def test_two_utterances_over_a_websocket(capture_tts: Capture) -> None:
    """Each is a request of the same conversation, with the text of its pieces and the audio that the client got."""
    texts = ("Hello there. How are you?", "This is one more")
    with talking(capture_tts.telemetry(), voice(streaming_aio)) as client:
        messages = []
        for text in texts:
            client.say(text)
            messages.append(client.outcome())
    syntheses = told_of(capture_tts, 2)
    assert [synthesis["gen_ai.conversation.id"] for synthesis in syntheses] == ["call-7", "call-7"]
    for synthesis, text, (message, seconds) in zip(syntheses, texts, messages, strict=True):
        assert synthesis["tts.text.length"] == len(text) + 1  # each word came with a blank
        assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
        assert seconds > 0.5
        assert message == {"outcome": "ok", "trace": f"{synthesis.span.context.trace_id:032x}"}
        assert [attempt.outcome for attempt in synthesis.attempts] == ["ok"]
    assert counts(capture_tts)["tts.synthesis.requests"] == {"ok": 2}


def barge_in(client: Client) -> None:
    """Half a second was heard."""
    client.send(interrupt=0.5)


def talk_on(client: Client) -> None:
    """More text, though the utterance is not over."""
    client.send(text="Wait!")


def hang_up(client: Client) -> None:
    """Leave."""
    client.socket.close()


@pytest.mark.parametrize(
    ("leave", "reason", "listened"), [(barge_in, "interrupted", 0.5), (talk_on, "superseded", None), (hang_up, "caller", None)]
)
def test_an_utterance_over_a_websocket_that_is_cut_off(
    leave: Callable[[Client], None], reason: str, listened: float | None, capture_tts: Capture
) -> None:
    """By the listener, by the next utterance, or by a client that goes away: the reason, and exactly the audio that was sent."""
    engine = Engine(seconds=None)
    with talking(capture_tts.telemetry(), engine, ahead=0.2) as client:
        client.say("A very long story.")
        client.hear(1.0)
        leave(client)
        if leave is not hang_up:
            message, seconds = client.outcome()
            assert message["outcome"] == "cancelled"
        synthesis = told_of(capture_tts, 1)[0]
    wait_for(lambda: engine.closed)
    assert (synthesis.outcome, synthesis["tts.cancel.reason"]) == ("cancelled", reason)
    assert synthesis["tts.audio.heard_duration"] == listened
    if leave is not hang_up:
        assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
    assert synthesis["tts.audio.delivered_duration"] >= 1.0
    assert synthesis.attempts[0].outcome == "cancelled"


def test_a_websocket_service_that_stops(capture_tts: Capture) -> None:
    """What it did not finish is its own failure, and no listener's cancel."""
    app = websocket_agent.create_app(capture_tts.telemetry(), Engine(seconds=None), 0.2)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with connect_websocket(f"ws://127.0.0.1:{port}/speech", proxy=None) as socket:
        client = Client(socket)
        client.say("A very long story.")
        client.hear(1.0)
        server.should_exit = True
        thread.join(20)
    [synthesis] = told_of(capture_tts, 1)
    assert (synthesis.outcome, synthesis["error.type"]) == ("partial", "shutdown")


@pytest.mark.parametrize("message", ["no JSON", b"\x00\xff", "{}", '{"text": 5}', '{"interrupt": "now"}', "[]", "null"])
def test_what_is_no_message_ends_the_conversation(message: str | bytes, capture_tts: Capture) -> None:
    """With a close code that says so, and no request."""
    with talking(capture_tts.telemetry(), Engine(seconds=1)) as client:
        client.socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            client.socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003
    assert capture_tts.spans == []


def test_no_words_over_a_websocket(capture_tts: Capture) -> None:
    """An utterance without a word is rejected, and the next one is spoken."""
    with talking(capture_tts.telemetry(), voice(streaming_aio)) as client:
        client.say("... !")
        assert client.outcome() == ({"outcome": "rejected", "trace": ANY}, 0.0)
        client.say("Hello.")
        assert client.outcome()[0]["outcome"] == "ok"
    assert [synthesis.outcome for synthesis in told_of(capture_tts, 2)] == ["rejected", "ok"]


async def test_an_agent_s_loop(capture_tts: Capture) -> None:
    """Its call: a whole reply, one that is interrupted, a fallback, and a phrase that was made ahead; heard is what was played."""
    engines = {"hibari": voice(agent_loop), "cloud": agent_loop.cloud}
    await agent_loop.Agent(capture_tts.telemetry(), engines, speed=20.0).call("call-7", agent_loop.CALL)
    syntheses = capture_tts.syntheses()
    assert {synthesis["gen_ai.conversation.id"] for synthesis in syntheses} == {"call-7"}
    by_kind = {kind: [s for s in syntheses if s["tts.request.kind"] == kind] for kind in (None, "prefetch")}
    assert [synthesis.outcome for synthesis in by_kind["prefetch"]] == ["ok"]
    whole, interrupted, fallback, hit = by_kind[None]
    assert [s.outcome for s in (whole, interrupted, fallback, hit)] == ["ok", "cancelled", "ok", "ok"]
    assert interrupted["tts.cancel.reason"] == "interrupted"
    assert interrupted["tts.audio.delivered_duration"] >= interrupted["tts.audio.heard_duration"] >= 1.0
    assert [(a["gen_ai.provider.name"], a.outcome) for a in fallback.attempts] == [("cloud", "error"), ("hibari", "ok")]
    assert hit["tts.cache.result"] == "hit"
    for synthesis in (whole, fallback, hit):
        assert synthesis["tts.audio.heard_duration"] == pytest.approx(synthesis["tts.audio.delivered_duration"], abs=0.001)
    characters = [len(reply.text) for reply in agent_loop.CALL if isinstance(reply, agent_loop.Reply)]
    assert [s["tts.text.length"] for s in (whole, fallback)] == [characters[0], characters[2]]
    assert 0 < interrupted["tts.text.length"] <= characters[1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_needs_the_library_only(example: Path) -> None:
    """No example leans on the reference service."""
    imported = {
        name
        for node in ast.walk(ast.parse(example.read_text("utf-8")))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])])
    }
    assert not [name for name in imported if name.startswith("otel_tts.service")]


def test_the_examples_run_as_programs(tmp_path: Path) -> None:
    """Each serves when started, and has written what it did when it is stopped."""
    names = ["unary_sync", "unary_aio", "streaming_sync", "streaming_aio", "starlette_stream", "websocket_agent"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with contextlib.ExitStack() as running:
        programs = {}
        for name in names:
            path = next(path for path in EXAMPLES if path.stem == name)
            command = [sys.executable, str(path), "--port", "0"]
            environment["OTEL_TTS_DATA_DIR"] = str(tmp_path / name)
            program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            running.callback(program.kill)
            programs[name] = running.enter_context(program)
        for name, program in programs.items():
            assert program.stdout is not None
            line = next(line for line in program.stdout if "127.0.0.1:" in line)
            port = int(line.partition("127.0.0.1:")[2].split()[0])
            if name.startswith("starlette"):
                audio = httpx.post(f"http://127.0.0.1:{port}/speech", content=TEXT).content
            elif name.startswith("websocket"):
                with connect_websocket(f"ws://127.0.0.1:{port}/speech", proxy=None) as connection:
                    client = Client(connection)
                    client.say(TEXT)
                    audio = bytes(round(client.outcome()[1] * RATE) * 2)
            elif name.startswith("unary"):
                audio = speak(port)
            else:
                with connect(port) as channel:
                    audio = b"".join(channel.unary_stream(f"/{METHOD}", request_serializer=str.encode)(TEXT))
            assert len(audio) > RATE, name
            program.terminate()
        for name, program in programs.items():
            program.communicate(timeout=10)
            written = "".join(path.read_text("utf-8") for path in (tmp_path / name).rglob("*") if path.is_file())
            assert written.count('"tts.synthesize"') == 1, name


def test_the_agent_s_loop_runs_as_a_program(tmp_path: Path) -> None:
    """And the command that it names finds its call."""
    environment = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    path = next(path for path in EXAMPLES if path.stem == "agent_loop")
    program = subprocess.run(
        [sys.executable, str(path), "--speed", "20"], env=environment, capture_output=True, text=True, timeout=100
    )
    assert program.returncode == 0, program.stderr
    [command] = program.stdout.splitlines()
    listed = subprocess.run(
        [sys.executable, "-c", "from otel_tts.cli import main; main()", *command.split()[1:], "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert [request["outcome"] for request in json.loads(listed.stdout)["requests"]] == ["ok", "ok", "cancelled", "ok", "ok"]
