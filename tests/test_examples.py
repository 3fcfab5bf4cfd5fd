"""The examples, each over a real socket: what they answer, and what they tell of it."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvicorn

from examples import starlette_stream, streaming_aio, streaming_sync, unary_aio, unary_sync
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


def heard(seconds: float) -> dict[str, Any]:
    """The attributes of audio."""
    return {"tts.audio.format": "pcm16", "tts.audio.sample_rate": RATE, "tts.audio.duration": seconds}


def delivered(seconds: float) -> dict[str, Any]:
    """The attributes of audio that was handed out, and of who made it."""
    maker = {"gen_ai.provider.name": "hibari", "gen_ai.request.model": "heart"}
    return {**maker, **heard(seconds), "tts.audio.delivered_duration": seconds}


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
    made = attempt(stream=False, **heard(seconds), **AT_ONCE)
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
    several = {"tts.attempt.count": 2, "tts.fallback.used": True}
    first = attempt(stream=False, gen_ai__provider__name="dead", **DEAD)
    second = attempt(stream=False, tts__attempt__reason="fallback", **heard(seconds), **AT_ONCE)
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
    made = attempt(stream=True, **heard(seconds), **flow) | FIRST_CHUNK
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
    made = attempt(stream=True, **heard(seconds), **flow) | FIRST_CHUNK
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
    cut = attempt(stream=True, **heard(got), **flow) | FIRST_CHUNK
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
    names = ["unary_sync", "unary_aio", "streaming_sync", "streaming_aio", "starlette_stream"]
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
