"""Calls of SDKs that are given up by a time limit: the same text then goes to a provider once more, in the same enclosing request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.asgi import enclosed
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty, Observe, faulty_server
from tests.instrumentation.test_enclosing import rpc
from tests.instrumentation.vendors import SDKS

openai = pytest.importorskip("openai", reason="it needs the extra `vendors`")
pytestmark = [pytest.mark.vendors, pytest.mark.filterwarnings(r"ignore:websockets\.:DeprecationWarning")]  # of deepgram-sdk

TEXT = "Hello there. How are you?"
PIECE = bytes(range(256)) * 64
Speak = Callable[[Faulty, asyncio.Event], Awaitable[Any]]
Request = Callable[[], Awaitable[None]]


async def _openai(server: Faulty, first_piece: asyncio.Event) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        asked = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
        async with client.audio.speech.with_streaming_response.create(**asked) as response:
            async for _ in response.iter_bytes():
                first_piece.set()


def _vendor(name: str) -> Speak:
    async def speak(server: Faulty, first_piece: asyncio.Event) -> None:
        await SDKS[name].speak(server.url, TEXT, first_piece=first_piece)

    return speak


VENDORS: dict[str, Speak] = {
    "openai": _openai,
    "elevenlabs": _vendor("elevenlabs stream async"),
    "deepgram": _vendor("deepgram async"),
    "cartesia": _vendor("cartesia stream async"),
}


@dataclass
class Providers:
    """One that answers with nothing or with a piece of audio and then hangs, and one that answers well."""

    stuck: Faulty
    good: Faulty


@pytest.fixture
def providers(faulty: Faulty, observe: Observe) -> Iterator[Providers]:
    """Both, and the SDKs observed."""
    observe(OpenAIInstrumentor, ElevenLabsInstrumentor, DeepgramInstrumentor, CartesiaInstrumentor)
    with faulty_server() as good:
        faulty.hangs.set()
        good.pieces = [PIECE] * 2
        for server in (faulty, good):
            server.headers = {"Content-Type": "audio/pcm;rate=24000"}
        yield Providers(faulty, good)


async def _by_asyncio(call: Awaitable[Any], stuck: Callable[[], Awaitable[Any]]) -> None:
    async def end() -> None:
        await stuck()
        limit.reschedule(asyncio.get_running_loop().time())

    with suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            ending = asyncio.create_task(end())
            await call
    await ending


async def _by_anyio(call: Awaitable[Any], stuck: Callable[[], Awaitable[Any]]) -> None:
    async def end() -> None:
        await stuck()
        scope.cancel()

    with import_module("anyio").CancelScope() as scope:
        ending = asyncio.create_task(end())
        await call
    await ending


async def _of_a_task(call: Awaitable[Any], stuck: Callable[[], Awaitable[Any]]) -> None:
    """As `asyncio.wait_for` does."""
    task = asyncio.ensure_future(call)
    await stuck()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


LIMITS = (_by_asyncio, _by_anyio, _of_a_task)


async def _in_an_asgi_request(_: Telemetry, work: Request) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await work()
        await send({"type": "http.response.start", "status": 200})

    async def nothing(*_: Any) -> Any:
        return {}

    await enclosed(application)({"type": "http", "method": "POST"}, nothing, nothing)


async def _in_an_rpc(telemetry: Telemetry, work: Request) -> None:
    with rpc(telemetry):
        await work()


def _given_up(
    providers: Providers, first: str, limit: Callable[..., Awaitable[None]], then: str | None, *, has_audio: bool
) -> Request:
    """A request in which the first call is stuck, and a second one follows or not."""

    async def work() -> None:
        providers.stuck.pieces = [PIECE] * 2 if has_audio else []
        providers.stuck.asked.clear()
        piece = asyncio.Event()

        async def stuck() -> None:
            await (piece.wait() if has_audio else asyncio.to_thread(providers.stuck.asked.wait, 10))

        await limit(VENDORS[first](providers.stuck, piece), stuck)
        if then is not None:
            await VENDORS[then](providers.good, asyncio.Event())

    return work


def _attempts(capture: Capture) -> list[tuple[Any, ...]]:
    view = capture.synthesis()
    return [(attempt.provider, attempt.reason, attempt.outcome, attempt["error.type"]) for attempt in view.attempts]


@pytest.mark.parametrize("around", [_in_an_asgi_request, _in_an_rpc])
@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("first", "then"), list(zip(VENDORS, [*list(VENDORS)[1:], "openai"], strict=True)))
async def test_a_provider_that_hangs_is_given_up_for_another_one(
    capture_tts: Capture, providers: Providers, first: str, then: str, limit: Any, has_audio: bool, around: Any
) -> None:
    """It failed with `timeout`, wherever the time limit stands, and what follows is a fallback: the same as by hand."""
    await around(capture_tts.telemetry(), _given_up(providers, first, limit, then, has_audio=has_audio))
    assert capture_tts.synthesis().outcome == "ok"
    failed = "partial" if has_audio else "error"
    assert _attempts(capture_tts) == [(first, "initial", failed, "timeout"), (then, "fallback", "ok", None)]
    fallbacks = {"tts.fallback.from": first, "tts.fallback.to": then, "error.type": "timeout"}
    assert capture_tts.total("tts.provider.fallbacks", fallbacks) == capture_tts.total("tts.provider.fallbacks") == 1
    assert capture_tts.total("tts.attempt.duration", {"gen_ai.provider.name": first, "error.type": "timeout"}) == 1
    assert capture_tts.total("tts.synthesis.failures") == 0


@pytest.mark.parametrize("around", [_in_an_asgi_request, _in_an_rpc])
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("has_audio", "outcome"), [(False, "error"), (True, "partial")])
async def test_a_provider_that_hangs_is_asked_once_more(
    capture_tts: Capture, providers: Providers, limit: Any, has_audio: bool, outcome: str, around: Any
) -> None:
    """The second call is a retry: the text is the same, so it is not the next sentence after one that was cut off."""
    await around(capture_tts.telemetry(), _given_up(providers, "openai", limit, "openai", has_audio=has_audio))
    assert _attempts(capture_tts) == [("openai", "initial", outcome, "timeout"), ("openai", "retry", "ok", None)]
    assert not capture_tts.points("tts.provider.fallbacks")


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("has_audio", [False, True])
async def test_what_nothing_follows_is_cancelled(capture_tts: Capture, providers: Providers, limit: Any, has_audio: bool) -> None:
    """A call that is cut off, and that the rest of its request does not repeat, says nothing about its provider."""
    await _in_an_asgi_request(capture_tts.telemetry(), _given_up(providers, "openai", limit, None, has_audio=has_audio))
    assert _attempts(capture_tts) == [("openai", "initial", "cancelled", None)]
    assert capture_tts.synthesis().outcome == "cancelled"


async def test_a_provider_that_always_hangs_is_down(capture_tts: Capture, providers: Providers) -> None:
    """Three requests that give it up, in unchanged code, are what a condition of a provider needs."""
    for _ in range(3):
        work = _given_up(providers, "elevenlabs", _by_asyncio, "deepgram", has_audio=False)
        await _in_an_asgi_request(capture_tts.telemetry(), work)
    assert capture_tts.total("tts.provider.available", {"gen_ai.provider.name": "elevenlabs"}) == 0
    assert capture_tts.total("tts.provider.available", {"gen_ai.provider.name": "deepgram"}) == 1
