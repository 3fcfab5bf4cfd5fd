"""Wyoming servers that were never changed, asked by Wyoming's own client, which counts what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import wyoming.server
from wrapt import FunctionWrapper
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncServer
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.wyoming import WyomingInstrumentor
from otel_tts.testing.capture import Capture
from tests.ports import free_port

RATE = 16_000
TEXTS = ("Hello there. How are you?", "One more.")


class Handler(AsyncEventHandler):
    """Speaks a tenth of a second for each word, a sentence at a time, as wyoming-piper does."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.text = ""

    async def handle_event(self, event: Event) -> bool:
        if SynthesizeStart.is_type(event.type):
            self.text = ""
        elif SynthesizeChunk.is_type(event.type):
            self.text += SynthesizeChunk.from_event(event).text
            while ". " in self.text:
                sentence, _, self.text = self.text.partition(". ")
                await self.speak(sentence)
        elif SynthesizeStop.is_type(event.type):
            await self.speak(self.text)
            await self.write_event(SynthesizeStopped().event())
        elif Synthesize.is_type(event.type):
            for sentence in Synthesize.from_event(event).text.split(". "):
                await self.speak(sentence)
        return True

    async def audio(self, text: str) -> bytes:
        return b"\x00\x10" * (RATE // 10 * len(text.split()))

    async def speak(self, text: str) -> None:
        await self.write_event(AudioStart(rate=RATE, width=2, channels=1).event())
        await self.write_event(AudioChunk(rate=RATE, width=2, channels=1, audio=await self.audio(text)).event())
        await self.write_event(AudioStop().event())


class Silent(Handler):
    """Says nothing."""

    async def speak(self, text: str) -> None:
        del text


class Failing(Handler):
    """Breaks after the first sentence."""

    async def audio(self, text: str) -> bytes:
        if "How" in text or "Nothing" in text:
            raise TimeoutError
        return await super().audio(text)


class Confessing(Handler):
    """Says that it cannot."""

    async def speak(self, text: str) -> None:
        await self.write_event(Error(text=text, code="no-voice").event())


class Endless(Handler):
    """Speaks until nobody listens."""

    async def speak(self, text: str) -> None:
        await self.write_event(AudioStart(rate=RATE, width=2, channels=1).event())
        while self._is_running:
            await self.write_event(AudioChunk(rate=RATE, width=2, channels=1, audio=await self.audio(text)).event())
            await asyncio.sleep(0.01)


class Engine(Handler):
    """With an engine that is observed, too."""

    async def audio(self, text: str) -> bytes:
        import hibari
        import numpy as np

        samples = await asyncio.to_thread(hibari.Hibari(threads=1), text)
        return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class Client:
    """What Wyoming's client gets, counted."""

    def __init__(self, client: AsyncTcpClient) -> None:
        self.client = client
        self.seconds = 0.0

    async def ask(self, *events: Any) -> None:
        for event in events:
            await self.client.write_event(event.event())

    async def listen(self, *, until: Callable[[Event], bool]) -> Event | None:
        while (event := await asyncio.wait_for(self.client.read_event(), 20)) is not None:
            if AudioChunk.is_type(event.type):
                self.seconds += len(event.payload or b"") / 2 / RATE
            if until(event):
                break
        return event


def stops(count: int) -> Callable[[Event], bool]:
    """Whether audio stopped for so many times."""
    left = [count]

    def stopped(event: Event) -> bool:
        left[0] -= AudioStop.is_type(event.type)
        return left[0] == 0

    return stopped


@asynccontextmanager
async def talking(handler: type[Handler]) -> AsyncIterator[tuple[Client, Any]]:
    """A client of a real server with this handler."""
    port = free_port()
    server = AsyncServer.from_uri(f"tcp://127.0.0.1:{port}")
    await server.start(handler)
    try:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            yield Client(client), server
    finally:
        await server.stop()


async def ended(capture: Capture, number: int) -> list[Any]:
    """The requests, when so many have ended."""
    for _ in range(2000):
        if len(capture.syntheses()) >= number:
            break
        await asyncio.sleep(0.01)
    return capture.syntheses()


async def test_two_utterances_on_one_connection(capture_tts: Capture, observe: Any) -> None:
    """Each is a request with the audio that the client got, whatever number of sentences it has."""
    observe(WyomingInstrumentor)
    got = []
    async with talking(Handler) as (client, _):
        for text in TEXTS:
            client.seconds = 0.0
            await client.ask(Synthesize(text=text, voice=SynthesizeVoice(name="ada")))
            await client.listen(until=stops(text.count(".") + text.count("?")))
            got.append(client.seconds)
        requests = await ended(capture_tts, 1)
    requests = await ended(capture_tts, 2)
    assert len(requests) == 2
    for request, text, seconds in zip(requests, TEXTS, got, strict=True):
        assert (request.outcome, request["tts.voice"], request["tts.text.length"]) == ("ok", "ada", len(text))
        assert request["tts.audio.delivered_duration"] == pytest.approx(seconds)
        assert request["tts.audio.duration"] == pytest.approx(seconds)
        assert seconds == pytest.approx(len(text.split()) / 10)


async def test_text_in_pieces_is_one_request(capture_tts: Capture, observe: Any) -> None:
    """The whole text, which clients send once more for older servers, is not counted again."""
    observe(WyomingInstrumentor)
    async with talking(Handler) as (client, _):
        pieces = [SynthesizeChunk(text=f"{word} ") for word in TEXTS[0].split()]
        await client.ask(SynthesizeStart(voice=SynthesizeVoice(language="en")), *pieces)
        await client.ask(SynthesizeStop())
        await client.listen(until=lambda event: SynthesizeStopped.is_type(event.type))
    [request] = await ended(capture_tts, 1)
    assert (request.outcome, request["tts.text.length"], request["tts.language"]) == ("ok", len(TEXTS[0]) + 1, "en")
    assert request["tts.audio.delivered_duration"] == pytest.approx(client.seconds) == pytest.approx(0.5)


async def test_an_engine_inside_is_an_attempt(capture_tts: Capture, observe: Any) -> None:
    """Each sentence is one, and the audio is counted once."""
    observe(WyomingInstrumentor, HibariInstrumentor)
    async with talking(Engine) as (client, _):
        await client.ask(Synthesize(text=TEXTS[0]))
        await client.listen(until=stops(2))
    [request] = await ended(capture_tts, 1)
    assert [(attempt["gen_ai.provider.name"], attempt.outcome) for attempt in request.attempts] == [("hibari", "ok")] * 2
    assert request.outcome == "ok"
    assert request["tts.text.length"] == len(TEXTS[0])


@pytest.mark.parametrize(
    ("handler", "text", "outcome", "error"),
    [
        (Silent, "Hello.", "empty", "no_audio"),
        (Confessing, "Hello.", "error", "_OTHER"),
        (Failing, "Hello there. How are you?", "partial", "timeout"),
        (Failing, "Nothing at all.", "error", "timeout"),
    ],
)
async def test_what_goes_wrong(
    handler: type[Handler], text: str, outcome: str, error: str, capture_tts: Capture, observe: Any
) -> None:
    """No audio, an error that the server tells its client, and a handler that breaks, before or after some audio."""
    observe(WyomingInstrumentor)
    async with talking(handler) as (client, _):
        await client.ask(Synthesize(text=text))
        if handler is Failing:
            assert await client.listen(until=lambda _: False) is None
        await asyncio.sleep(0.1)
    [request] = await ended(capture_tts, 1)
    assert (request.outcome, request["error.type"]) == (outcome, error)
    assert request["tts.audio.delivered_duration"] == pytest.approx(client.seconds)


@pytest.mark.parametrize("pieces", [False, True])
async def test_a_client_that_leaves(pieces: bool, capture_tts: Capture, observe: Any) -> None:
    """While it is spoken to, or before it has sent all of its text: cancelled by the caller."""
    observe(WyomingInstrumentor)
    async with talking(Handler if pieces else Endless) as (client, _):
        if pieces:
            await client.ask(SynthesizeStart(), SynthesizeChunk(text="Hello there. And"))
            await client.listen(until=stops(1))
        else:
            await client.ask(Synthesize(text="Hello."))
            await client.listen(until=lambda event: AudioChunk.is_type(event.type))
        await client.client.disconnect()
        [request] = await ended(capture_tts, 1)
    assert (request.outcome, request["tts.cancel.reason"]) == ("cancelled", "caller")
    assert request["tts.audio.delivered_duration"] >= client.seconds > 0


async def test_a_server_that_stops(capture_tts: Capture, observe: Any) -> None:
    """What it does not finish is its own failure."""
    observe(WyomingInstrumentor)
    async with talking(Endless) as (client, server):
        await client.ask(Synthesize(text="Hello."))
        await client.listen(until=lambda event: AudioChunk.is_type(event.type))
        await server.stop()
        [request] = await ended(capture_tts, 1)
    assert (request.outcome, request["error.type"]) == ("partial", "shutdown")


class Odd(Handler):
    """Says strange things of its audio."""

    stated: Any = None

    async def handle_event(self, event: Event) -> bool:
        await self.speak(event.type)
        return True

    async def speak(self, text: str) -> None:
        del text
        await self.write_event(Event("audio-start", self.stated))
        await self.write_event(Event("audio-chunk", self.stated, b"\x00\x10" * 1000))
        await self.write_event(Event("audio-stop"))


@pytest.mark.parametrize(
    "stated",
    [
        None, {}, {"width": 2}, {"width": 2, "rate": 0}, {"width": 2, "rate": -1}, {"width": 2, "rate": "x"}, {"width": 2, "rate": 1e300},
        {"width": 4, "rate": 16000}, {"width": "2", "rate": 16000}, {"width": 2, "rate": 16000, "channels": 99},
        {"width": 2, "rate": 16000, "channels": "x"}, {"width": 2, "rate": True, "channels": [1]},
    ],
)  # fmt: skip
async def test_odd_audio_and_odd_voices(stated: Any, capture_tts: Capture, observe: Any) -> None:
    """Audio that cannot be read is audio all the same, of unknown length; the host sees no difference."""
    observe(WyomingInstrumentor)
    handler = type("OddOne", (Odd,), {"stated": stated})
    async with talking(handler) as (client, _):
        for voice in (None, "ada", ["ada"], 5, {"name": 7}):
            await client.client.write_event(Event("synthesize", {"text": "Hello.", "voice": voice}))
            assert await client.listen(until=stops(1)) is not None
    requests = await ended(capture_tts, 5)
    assert [request.outcome for request in requests] == ["ok"] * 5
    assert [request["tts.text.length"] for request in requests] == [6] * 5


async def test_what_is_no_speech_is_left_alone(capture_tts: Capture, observe: Any) -> None:
    """Other events, and odd ones, begin no request."""
    observe(WyomingInstrumentor)
    async with talking(Handler) as (client, _):
        for event in (Event("describe"), Event("synthesize-chunk", {"text": "x"}), Event("odd", {"text": 5}, b"\x00")):
            await client.client.write_event(event)
        await asyncio.sleep(0.1)
    assert capture_tts.syntheses() == []


def test_the_functions_come_back(observe: Any) -> None:
    """Afterwards everything is as it was."""
    places = [(AsyncEventHandler, "run"), (AsyncEventHandler, "write_event"), (wyoming.server, "async_read_event")]
    before = [vars(owner)[name] for owner, name in places]
    del observe  # whose end forgets the Telemetry
    instrumentor = WyomingInstrumentor()
    instrumentor.instrument()
    assert all(isinstance(vars(owner)[name], FunctionWrapper) for owner, name in places)
    instrumentor.uninstrument()
    assert all(vars(owner)[name] is function for (owner, name), function in zip(places, before, strict=True))
