"""The ways in which the SDKs of ElevenLabs, Deepgram and Cartesia can be asked: raw responses, timestamps, dialogues, events, infills.

All against a local server of their HTTP protocols with a real engine, whose own record says what was sent.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.util
import inspect
import json
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.core.outcome import OK
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor, read_event
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.events import EventDecoder
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.resends import ResendsInstrumentor
from otel_tts.testing.capture import Capture, SessionProviders
from tests.instrumentation.conftest import Observe
from tests.instrumentation.speech_http import RATE, SpeechHttp

elevenlabs = pytest.importorskip("elevenlabs", reason="it needs the extra `vendors`")
cartesia = pytest.importorskip("cartesia", reason="it needs the extra `vendors`")
deepgram = pytest.importorskip("deepgram", reason="it needs the extra `vendors`")
pytestmark = [pytest.mark.vendors, pytest.mark.filterwarnings(r"ignore:websockets\.:DeprecationWarning")]

SENTENCES = ("Good morning. ", "How are you today?")
TEXT = "".join(SENTENCES)
LINES = [{"text": SENTENCES[0], "voice_id": "rachel"}, {"text": SENTENCES[1], "voice_id": "sam"}]
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without certificates, which take long to load: the server has no TLS."""
PCM = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE}


@pytest.fixture(scope="module")
def server() -> Iterator[SpeechHttp]:
    """The server."""
    with SpeechHttp().running() as running:
        yield running


@pytest.fixture
def provider(server: SpeechHttp) -> SpeechHttp:
    """The same, with nothing wrong with it."""
    server.reset()
    return server


def stamped(answer: Any) -> bytes:
    """The audio beside timestamps."""
    return base64.b64decode(answer.audio_base_64)


def event_audio(event: Any) -> bytes:
    """The audio of one of Cartesia's events."""
    return event.audio or b"" if event.type == "chunk" else b""


def as_it_is(piece: Any) -> bytes:
    """Bytes."""
    return bytes(piece)


@dataclass(frozen=True)
class Way:
    """One way of asking, of one kind of client."""

    instrumentor: type[Instrumentor]
    client: Callable[[str, Any], Any]
    """Makes the client, of an address and a client of httpx."""
    call: Callable[[Any], Any]
    """What is called; it may give an answer, pieces, or a block with one of these."""
    asynchronous: bool
    expected: dict[str, Any]
    """Attributes."""
    audio: Callable[[Any], bytes] = as_it_is
    """The audio of a piece."""
    of_response: Callable[[Any], Any] = lambda response: response.data
    """What a raw response has."""

    async def pieces(self, url: str) -> AsyncIterator[bytes]:
        """The audio as the host gets it."""
        async with AsyncExitStack() as stack:
            plain: Any = stack.enter_context(httpx.Client(timeout=20, verify=TLS))
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=20, verify=TLS)) if self.asynchronous else plain
            result = self.call(self.client(url, http))
            if hasattr(result, "__aenter__") and not hasattr(result, "__anext__"):
                result = self.of_response(await stack.enter_async_context(result))
            elif hasattr(result, "__enter__") and not hasattr(result, "__next__"):
                result = self.of_response(stack.enter_context(result))
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, "headers") or hasattr(result, "http_response"):
                result = self.of_response(result)
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, "__aiter__"):
                stack.push_async_callback(result.aclose if hasattr(result, "aclose") else result.close)
                async for piece in result:
                    yield self.audio(piece)
            elif hasattr(result, "__next__"):
                stack.enter_context(closing(result))
                for piece in result:
                    yield self.audio(piece)
            else:
                yield self.audio(result)

    def run(self, url: str, *, leave: bool = False) -> bytes:
        """Speak to the end, or to the first piece."""

        async def run() -> bytes:
            audio = b""
            async with aclosing(self.pieces(url)) as pieces:
                async for piece in pieces:
                    audio += piece
                    if leave and audio:
                        break
            return audio

        return asyncio.run(run())


def _eleven(kind: str) -> Callable[[str, Any], Any]:
    return lambda url, http: getattr(elevenlabs, kind)(api_key="none", base_url=url, httpx_client=http)


def _deepgram(kind: str) -> Callable[[str, Any], Any]:
    def client(url: str, http: Any) -> Any:
        kinds = importlib.import_module("deepgram.environment")
        names = list(inspect.signature(kinds.DeepgramClientEnvironment.__init__).parameters)[1:]
        environment = kinds.DeepgramClientEnvironment(**dict.fromkeys(names, url))
        return getattr(deepgram, kind)(api_key="none", environment=environment, httpx_client=http)

    return client


def _cartesia(kind: str) -> Callable[[str, Any], Any]:
    return lambda url, http: getattr(cartesia, kind)(api_key="none", base_url=url, http_client=http, max_retries=0)


def _elevenlabs_ways() -> Iterator[tuple[str, Way]]:
    speech = {"gen_ai.provider.name": "elevenlabs", "gen_ai.request.model": "eleven_flash_v2_5", "tts.voice": "rachel"}
    dialogue = {"gen_ai.provider.name": "elevenlabs", "gen_ai.request.model": "eleven_v3"}
    asked = {"text": TEXT, "model_id": "eleven_flash_v2_5", "output_format": "pcm_24000"}
    for kind in ("ElevenLabs", "AsyncElevenLabs"):
        asynchronous, client = kind.startswith("Async"), _eleven(kind)
        dialogues = importlib.import_module("elevenlabs.text_to_dialogue.client").TextToDialogueClient
        for raw in (False, True):
            for method in ("convert", "stream", "convert_with_timestamps", "stream_with_timestamps"):

                def speak(made: Any, method: str = method, raw: bool = raw) -> Any:
                    package = made.text_to_speech.with_raw_response if raw else made.text_to_speech
                    return getattr(package, method)("rachel", **asked)

                def converse(made: Any, method: str = method, raw: bool = raw) -> Any:
                    package = made.text_to_dialogue.with_raw_response if raw else made.text_to_dialogue
                    lines = [elevenlabs.DialogueInput(**line) for line in LINES]
                    return getattr(package, method)(inputs=lines, output_format="pcm_24000")

                audio = stamped if "timestamps" in method else as_it_is
                stream = {"gen_ai.request.stream": method != "convert_with_timestamps"}
                name = f"{kind} {'raw ' if raw else ''}{method}"
                yield name, Way(ElevenLabsInstrumentor, client, speak, asynchronous, speech | stream, audio)
                if hasattr(dialogues, method):  # older versions have no timestamps of dialogues
                    yield (
                        f"{name} dialogue",
                        Way(ElevenLabsInstrumentor, client, converse, asynchronous, dialogue | stream, audio),
                    )


def _deepgram_ways() -> Iterator[tuple[str, Way]]:
    for kind in ("DeepgramClient", "AsyncDeepgramClient"):
        for version, model in (("v1", "aura-2-thalia-en"), ("v2", "flux-alexis-en")):
            if importlib.util.find_spec(f"deepgram.speak.{version}") is None:
                continue  # older versions have no second one
            for raw in (False, True):

                def generate(made: Any, version: str = version, model: str = model, raw: bool = raw) -> Any:
                    audio = getattr(made.speak, version).audio
                    asked = {"text": TEXT, "model": model, "encoding": "linear16", "container": "none", "sample_rate": RATE}
                    return (audio.with_raw_response if raw else audio).generate(**asked)

                expected = {"gen_ai.provider.name": "deepgram", "gen_ai.request.model": model, "gen_ai.request.stream": True}
                way = Way(DeepgramInstrumentor, _deepgram(kind), generate, kind.startswith("Async"), expected)
                yield f"{kind} {version}{' raw' if raw else ''}", way


def _cartesia_ways() -> Iterator[tuple[str, Way]]:
    asked: dict[str, Any] = {"model_id": "sonic-3", "transcript": TEXT, "voice": {"id": "katie"}, "output_format": PCM}
    infill: dict[str, Any] = {
        "model_id": "sonic-2", "transcript": TEXT, "voice_id": "katie", "output_format": PCM, "left_audio": b"RIFF", "language": "en",
    }  # fmt: skip
    for kind in ("Cartesia", "AsyncCartesia"):
        asynchronous, client = kind.startswith("Async"), _cartesia(kind)
        attributes = {"gen_ai.provider.name": "cartesia", "tts.voice": "katie"}
        for how in ("", "with_raw_response", "with_streaming_response"):

            def sse(made: Any, how: str = how) -> Any:
                return (getattr(made.tts, how) if how else made.tts).generate_sse(**asked)

            def fill(made: Any, how: str = how) -> Any:
                return (getattr(made.tts, how) if how else made.tts).infill(**infill)

            streamed, model = {"gen_ai.request.stream": True}, {"gen_ai.request.model": "sonic-3"}
            yield (
                f"{kind} {how or 'plain'} events",
                Way(
                    CartesiaInstrumentor,
                    client,
                    sse,
                    asynchronous,
                    attributes | streamed | model,
                    event_audio,
                    lambda r: r.parse(),
                ),
            )
            of_response = (lambda r: r.iter_bytes()) if how == "with_streaming_response" else (lambda r: r.read())
            stream = {"gen_ai.request.stream": how == "with_streaming_response", "gen_ai.request.model": "sonic-2"}
            yield (
                f"{kind} {how or 'plain'} infill",
                Way(CartesiaInstrumentor, client, fill, asynchronous, attributes | stream, as_it_is, of_response),
            )


WAYS = dict([*_elevenlabs_ways(), *_deepgram_ways(), *_cartesia_ways()])
STREAMS = {name for name, way in WAYS.items() if way.expected["gen_ai.request.stream"]}
EVENTS = {name for name in WAYS if "events" in name}
CLIENTS = ("ElevenLabs", "AsyncElevenLabs", "DeepgramClient", "AsyncDeepgramClient", "Cartesia", "AsyncCartesia")


@dataclass
class Each:
    """Each way of one client, with what was recorded of it."""

    client: str
    providers: SessionProviders
    server: SpeechHttp

    def __call__(self, names: Collection[str] = WAYS.keys()) -> Iterator[tuple[Way, Capture]]:
        """One after another; the server is as new, and the recording is empty."""
        for name in [name for name in WAYS if name in names and name.startswith(f"{self.client} ")]:
            self.server.reset()
            with Capture(self.providers) as capture:
                yield WAYS[name], capture


@pytest.fixture(params=CLIENTS)
def each(request: pytest.FixtureRequest, _tts_providers: SessionProviders, provider: SpeechHttp, observe: Observe) -> Each:
    """Each way of each client, observed."""
    observe(ResendsInstrumentor, next(way for name, way in WAYS.items() if name.startswith(f"{request.param} ")).instrumentor)
    return Each(request.param, _tts_providers, provider)


def seconds(audio: bytes) -> float:
    """Its length."""
    return len(audio) / 2 / RATE


def test_a_whole_answer(each: Each) -> None:
    """The host gets what the server sent, and telemetry has it to the last sample, as one request with one attempt."""
    for way, capture in each():
        audio = way.run(each.server.url)
        assert audio == each.server.audio
        synthesis = capture.synthesis(outcome="ok")
        assert {key: synthesis[key] for key in way.expected} == way.expected
        assert synthesis["tts.text.length"] == len(TEXT)
        assert synthesis["tts.audio.duration"] == synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))
        assert [attempt.outcome for attempt in synthesis.attempts] == ["ok"]
        assert len(capture.syntheses()) == each.server.asked == 1


def test_a_host_that_leaves(each: Each) -> None:
    """It leaves after the first piece, by leaving the block or closing the stream: cancelled, with what it had got."""
    for way, capture in each(STREAMS):
        each.server.fault = "hang"
        first = way.run(each.server.url, leave=True)
        each.server.over.set()
        each.server.over.clear()
        synthesis = capture.synthesis(outcome="cancelled")
        assert synthesis["tts.cancel.reason"] == "caller"
        assert 0 < seconds(first) - 0.01 <= synthesis["tts.audio.delivered_duration"] <= seconds(each.server.audio) + 0.001


@pytest.mark.parametrize(
    ("status", "outcome", "error_type"), [(401, "error", "unauthorized"), (400, "rejected", "invalid_input")]
)
def test_a_refusal(each: Each, status: int, outcome: str, error_type: str) -> None:
    """The SDK's exception reaches the host, and the status says what it was."""
    for way, capture in each():
        each.server.statuses = [status]
        with pytest.raises(Exception, match=r".*") as raised:
            way.run(each.server.url)
        assert way.instrumentor.__name__.removesuffix("Instrumentor").lower() in type(raised.value).__module__
        synthesis = capture.synthesis(outcome=outcome)
        assert (synthesis["error.type"], len(synthesis.attempts)) == (error_type, 1)


def test_a_lost_connection(each: Each) -> None:
    """It is lost after the first audio: partial, because of the connection."""
    for way, capture in each(STREAMS):
        each.server.fault = "lost"
        with pytest.raises(httpx.HTTPError):
            way.run(each.server.url)
        synthesis = capture.synthesis(outcome="partial")
        assert (synthesis["error.type"], synthesis.attempts[0].outcome) == ("connection", "partial")
        assert 0 < synthesis["tts.audio.delivered_duration"] <= seconds(each.server.audio) + 0.001


@pytest.mark.parametrize("each", ["Cartesia", "AsyncCartesia"], indirect=True)
@pytest.mark.parametrize(("fault", "error_type"), [("error", "server_error"), ("no end", "connection")])
def test_events_that_end_badly(each: Each, fault: str, error_type: str) -> None:
    """An event for an error, and a body that ends without the event for its end, under a status that is good: partial."""
    for way, capture in each(EVENTS):
        each.server.fault = fault
        audio = way.run(each.server.url)
        synthesis = capture.synthesis(outcome="partial")
        assert (synthesis["error.type"], synthesis.attempts[0].outcome) == (error_type, "partial")
        assert (
            synthesis["tts.audio.delivered_duration"]
            == pytest.approx(seconds(audio))
            == pytest.approx(seconds(each.server.audio))
        )


def test_inside_a_request_it_is_an_attempt(each: Each) -> None:
    """In an open Synthesis it is an attempt of it, in an open attempt nothing more."""
    for way, capture in each():
        telemetry = capture.telemetry()
        with telemetry.synthesis(TEXT):
            way.run(each.server.url)
        with telemetry.synthesis(TEXT) as synthesis, synthesis.attempt("mine"):
            way.run(each.server.url)
        assert [[attempt.provider for attempt in synthesis.attempts] for synthesis in capture.syntheses()] == [
            [way.expected["gen_ai.provider.name"]],
            ["mine"],
        ]


@pytest.mark.parametrize("each", ["ElevenLabs", "AsyncElevenLabs"], indirect=True)
def test_what_elevenlabs_sends_once_more(each: Each) -> None:
    """Its SDK asks again after a 429 where the answer is whole: one attempt, with a resend; where it is streamed, it fails at once."""
    for way, capture in each():
        each.server.statuses = [429]
        whole = not way.expected["gen_ai.request.stream"]
        with ExitStack() as stack:
            if not whole:
                stack.enter_context(pytest.raises(Exception, match="429"))
            way.run(each.server.url)
        synthesis = capture.synthesis(outcome="ok" if whole else "error")
        resends = [event for span in capture.spans for event in span.events if event.name == "tts.resend"]
        assert (len(synthesis.attempts), len(resends), each.server.asked) == ((1, 1, 2) if whole else (1, 0, 1))


def _asked_for_nothing(client: str) -> Callable[[Any, bool], Any]:
    """Speech in the API's own format, by the plain call or by its raw response."""

    def convert(made: Any, raw: bool) -> Any:
        package = made.text_to_speech.with_raw_response if raw else made.text_to_speech
        return package.convert("rachel", text=TEXT)

    def generate(made: Any, raw: bool) -> Any:
        audio = made.speak.v1.audio
        return (audio.with_raw_response if raw else audio).generate(text=TEXT)

    return convert if "ElevenLabs" in client else generate


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("client", ["ElevenLabs", "AsyncElevenLabs", "DeepgramClient", "AsyncDeepgramClient"])
def test_the_answer_says_which_audio_it_is(
    client: str, raw: bool, provider: SpeechHttp, observe: Observe, capture_tts: Capture
) -> None:
    """MP3 is asked for, by default, and raw audio comes: `Content-Type` says so, also where the host gets a plain iterator."""
    eleven, ask = "ElevenLabs" in client, _asked_for_nothing(client)
    instrumentor = ElevenLabsInstrumentor if eleven else DeepgramInstrumentor
    way = Way(
        instrumentor, (_eleven if eleven else _deepgram)(client), lambda made: ask(made, raw), client.startswith("Async"), {}
    )
    observe(instrumentor)
    audio = way.run(provider.url)
    assert audio == provider.audio
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] == pytest.approx(seconds(audio))


def test_an_error_of_the_host_in_the_block(capture_tts: Capture, observe: Observe, provider: SpeechHttp) -> None:
    """The host's own exception comes out of the block as it was raised; the speech was left, it did not fail."""
    observe(ElevenLabsInstrumentor)
    provider.fault = "hang"
    with httpx.Client(verify=TLS) as http:
        raw = _eleven("ElevenLabs")(provider.url, http).text_to_speech.with_raw_response

        def read() -> None:
            with raw.stream("rachel", text=TEXT, output_format="pcm_24000") as response:
                assert response.headers["content-type"] == "audio/pcm;rate=24000"
                next(response.data)
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            read()
    assert capture_tts.synthesis().outcome == "cancelled"


def test_a_block_that_is_never_entered(capture_tts: Capture, observe: Observe, provider: SpeechHttp) -> None:
    """It requests nothing."""
    observe(ElevenLabsInstrumentor)
    with httpx.Client(verify=TLS) as http:
        _eleven("ElevenLabs")(provider.url, http).text_to_speech.with_raw_response.stream("rachel", text=TEXT)
    assert (capture_tts.spans, provider.asked) == ([], 0)


def test_speech_that_goes_to_another_server(capture_tts: Capture, observe: Observe, provider: SpeechHttp) -> None:
    """Deepgram's ``callback`` sends the audio to another server, so the call itself is no speech."""
    observe(DeepgramInstrumentor)
    with httpx.Client(verify=TLS) as http, closing(_deepgram("DeepgramClient")(provider.url, http).speak.v1.audio.generate(
        text=TEXT, callback="http://127.0.0.1:1/"
    )) as pieces:  # fmt: skip
        list(pieces)
    assert capture_tts.spans == []


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 50))
def test_events_in_pieces_of_any_size(payloads: list[bytes], size: int) -> None:
    """However a body is cut, the audio is the same, and the end is seen once."""
    events = [{"type": "chunk", "data": base64.b64encode(payload).decode()} for payload in payloads]
    lines = "".join(f"event: x\r\ndata: {event}\r\n\r\n" for event in [json.dumps(event) for event in events])
    body = f': comment\n\n{lines}data: [DONE]\n\ndata: {{"type": "done"}}\n\n'.encode()
    decoder = EventDecoder(read_event)
    pieces = [decoder.feed(body[start : start + size]) for start in range(0, len(body), size)]
    assert b"".join(pieces) == b"".join(payloads)
    assert decoder.cause is OK
