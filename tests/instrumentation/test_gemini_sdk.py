"""Google's google-genai, both clients, against a local server of its REST protocol that speaks with Hibari, and that fails as told."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from hibari import SAMPLE_RATE, Hibari
from wrapt import FunctionWrapper

from otel_tts import Telemetry
from otel_tts.instrumentation.gemini import GeminiInstrumentor, audio_format
from otel_tts.instrumentation.resends import ResendsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill

genai = pytest.importorskip("google.genai", reason="it needs the extra `vendors`")
types = pytest.importorskip("google.genai.types", reason="it needs the extra `vendors`")
pytestmark = [pytest.mark.vendors, pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")]

TEXT = "Hello there. How are you?"
MODEL = "gemini-2.5-flash-preview-tts"
VOICE = types.SpeechConfig(
    voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore")), language_code="en-US"
)
CONFIG = types.GenerateContentConfig(response_modalities=["AUDIO"], speech_config=VOICE)
ENGINE = Hibari(threads=1)


class Gemini(ThreadingHTTPServer):
    """The server. fault: what goes wrong, after the first sentence or before anything."""

    daemon_threads = True
    fault = ""
    passing = ""
    """A fault of the next request only."""
    release = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Gemini
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.passing:
            status, self.server.passing = int(self.server.passing), ""
            self.answer(status, {"error": {"code": status, "message": "no", "status": "NO"}})
            return
        if self.server.fault == "hang":
            self.server.release.wait(30)
            return
        if self.server.fault.isdigit():
            self.answer(int(self.server.fault), {"error": {"code": int(self.server.fault), "message": "no", "status": "NO"}})
            return
        text = asked["contents"][0]["parts"][0]["text"]
        sentences = [] if self.server.fault == "silent" else list(ENGINE.stream(text, seed=0))
        data = [(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes() for samples in sentences]
        if ":generateContent" in self.path:
            self.answer(200, response(b"".join(data)) if data else {"candidates": [{"finishReason": "OTHER"}]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, audio in enumerate(data):
            if number and self.server.fault == "cut":
                self.close_connection = True
                return
            if number and self.server.fault == "event":
                self.event({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
                break
            self.event(response(audio))
        self.wfile.write(b"0\r\n\r\n")

    def event(self, value: Any) -> None:
        line = b"data: " + json.dumps(value).encode() + b"\r\n\r\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def response(audio: bytes) -> Any:
    """As the API has it."""
    blob = {"mimeType": f"audio/L16;codec=pcm;rate={SAMPLE_RATE}", "data": base64.b64encode(audio).decode()}
    return {"candidates": [{"content": {"parts": [{"inlineData": blob}], "role": "model"}, "finishReason": "STOP"}]}


@pytest.fixture
def gemini() -> Iterator[Gemini]:
    """The server, with nothing wrong."""
    with Gemini(("127.0.0.1", 0), Handler) as server:
        server.release = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


class Client:
    """Either client, driven in the same words; it counts the audio that it gets."""

    def __init__(self, server: Gemini | int, *, asynchronous: bool, timeout_s: float = 20.0, attempts: int = 1) -> None:
        port = server if isinstance(server, int) else server.server_port
        self.asynchronous = asynchronous
        self.size = 0
        options = types.HttpOptions(
            base_url=f"http://127.0.0.1:{port}", timeout=round(timeout_s * 1000),
            retry_options=types.HttpRetryOptions(attempts=attempts, initial_delay=0.01, max_delay=0.02) if attempts > 1 else None,
        )  # fmt: skip
        self.client = genai.Client(api_key="none", http_options=options)

    def _take(self, answer: Any) -> Any:
        for candidate in answer.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                self.size += len(part.inline_data.data)
        return answer

    def whole(self, text: Any = TEXT, config: Any = CONFIG) -> Any:
        if not self.asynchronous:
            with self.client as client:
                return self._take(client.models.generate_content(model=MODEL, contents=text, config=config))

        async def run() -> Any:
            async with self.client.aio as client:
                return self._take(await client.models.generate_content(model=MODEL, contents=text, config=config))

        return asyncio.run(run())

    def stream(self, text: Any = TEXT, most: int | None = None, config: Any = CONFIG) -> None:
        if not self.asynchronous:
            with self.client as client:
                answers = client.models.generate_content_stream(model=MODEL, contents=text, config=config)
                for number, answer in enumerate(answers, 1):
                    self._take(answer)
                    if number == most:
                        answers.close()
                        break
            return

        async def run() -> None:
            async with self.client.aio as client:
                answers = await client.models.generate_content_stream(model=MODEL, contents=text, config=config)
                number = 0
                async for answer in answers:
                    self._take(answer)
                    number += 1
                    if number == most:
                        await answers.aclose()
                        break

        asyncio.run(run())

    @property
    def seconds(self) -> float:
        return self.size / 2 / SAMPLE_RATE


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Callable[..., Client]:
    """Makes a client of either kind."""
    return lambda server, **options: Client(server, asynchronous=request.param == "async", **options)


def test_a_whole_answer(capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client]) -> None:
    """Two utterances, each with the audio that the client got, whatever form the text has."""
    observe(GeminiInstrumentor)
    seconds = []
    for contents in (TEXT, types.Content(role="user", parts=[types.Part(text=TEXT)])):
        asked = client(gemini)
        answer = asked.whole(contents)
        assert type(answer) is types.GenerateContentResponse
        seconds.append(asked.seconds)
    for synthesis, length in zip(capture_tts.syntheses(), seconds, strict=True):
        assert (synthesis.outcome, synthesis["tts.voice"], synthesis["tts.language"]) == ("ok", "Kore", "en-US")
        assert synthesis["tts.text.length"] == len(TEXT)
        assert synthesis["tts.audio.duration"] == synthesis["tts.audio.delivered_duration"] == pytest.approx(length)
        [attempt] = synthesis.attempts
        assert (attempt["gen_ai.provider.name"], attempt["gen_ai.request.model"]) == ("gcp.gemini", MODEL)
        assert length > 0.5


def test_a_stream(capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client]) -> None:
    """Measured piece by piece to its end."""
    observe(GeminiInstrumentor)
    asked = client(gemini)
    asked.stream()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(asked.seconds)
    assert synthesis["tts.stream.chunk.count"] == 2
    assert synthesis["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" in synthesis.attempts[0].span.attributes


def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client]) -> None:
    """Cancelled by the caller, with the audio until then."""
    observe(GeminiInstrumentor)
    asked = client(gemini)
    asked.stream(most=1)
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(asked.seconds)
    assert asked.seconds > 0


@pytest.mark.parametrize(
    ("fault", "streamed", "outcome", "error"),
    [
        ("429", False, "error", "rate_limited"),
        ("503", False, "error", "unavailable"),
        ("400", True, "rejected", "invalid_input"),
        ("silent", False, "empty", "no_audio"),
        ("silent", True, "empty", "no_audio"),
        ("event", True, "partial", "unavailable"),
        ("cut", True, "partial", None),
    ],
)
def test_what_goes_wrong(
    fault: str,
    streamed: bool,
    outcome: str,
    error: str | None,
    capture_tts: Capture,
    observe: Observe,
    gemini: Gemini,
    client: Callable[..., Client],
) -> None:
    """A refusal, no audio, an error in the middle, and a connection that is lost: as the client saw it, and what it got."""
    observe(GeminiInstrumentor)
    gemini.fault = fault
    asked = client(gemini)
    raised = ""
    try:
        (asked.stream if streamed else asked.whole)()
    except Exception as failure:  # noqa: BLE001 - whatever the SDK makes of it
        raised = type(failure).__name__
    assert bool(raised) == (fault != "silent")
    [synthesis] = capture_tts.syntheses()
    assert synthesis.outcome == outcome, raised
    if error is not None:
        assert synthesis["error.type"] == error
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(asked.seconds)


def test_nobody_there(capture_tts: Capture, observe: Observe, client: Callable[..., Client]) -> None:
    """A connection that is refused."""
    observe(GeminiInstrumentor)
    with Gemini(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(Exception, match=r"(?i)connect|refused|cannot"):
        client(port).whole()
    assert capture_tts.synthesis(outcome="error")["error.type"] == "connection"


def test_a_timeout(capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client]) -> None:
    """The client's patience."""
    observe(GeminiInstrumentor)
    gemini.fault = "hang"
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each client has its own
        client(gemini, timeout_s=0.3).whole()
    assert any("Timeout" in kind.__name__ for kind in type(raised.value).__mro__)
    assert capture_tts.synthesis(outcome="error")["error.type"] == "timeout"


def test_a_cancelled_task(capture_tts: Capture, observe: Observe, gemini: Gemini) -> None:
    """A task that waits no longer."""
    observe(GeminiInstrumentor)
    gemini.fault = "hang"
    asked = Client(gemini, asynchronous=True)

    async def run() -> None:
        async with asked.client.aio as client:
            call = client.models.generate_content(model=MODEL, contents=TEXT, config=CONFIG)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.3)

    asyncio.run(run())
    assert capture_tts.synthesis().outcome == "cancelled"


def test_inside_a_request_it_is_an_attempt(
    capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client]
) -> None:
    """Of the request that is open; in an attempt that is open it is nothing of its own."""
    observe(GeminiInstrumentor)
    tts: Telemetry = capture_tts.telemetry()
    with tts.synthesis(TEXT):
        client(gemini).whole()
    with tts.synthesis(TEXT) as synthesis, synthesis.attempt("mine"):
        client(gemini).whole()
    assert [[a["gen_ai.provider.name"] for a in s.attempts] for s in capture_tts.syntheses()] == [["gcp.gemini"], ["mine"]]


def test_what_is_no_speech_is_left_alone(capture_tts: Capture, observe: Observe, gemini: Gemini) -> None:
    """Calls that ask for text, or for nothing in particular."""
    observe(GeminiInstrumentor)
    for config in (None, {}, {"response_modalities": ["TEXT"]}, types.GenerateContentConfig(temperature=0)):
        Client(gemini, asynchronous=False).whole(config=config)
    assert capture_tts.spans == []
    Client(gemini, asynchronous=False).whole(config={"responseModalities": ["audio"], "speech_config": {"language_code": "de"}})
    assert capture_tts.synthesis()["tts.language"] == "de"


def test_the_functions_come_back(observe: Any) -> None:
    """Afterwards they are the very same."""
    from google.genai.models import AsyncModels, Models

    places = [(owner, name) for owner in (Models, AsyncModels) for name in ("generate_content", "generate_content_stream")]
    before = [vars(owner)[name] for owner, name in places]
    del observe  # whose end forgets the Telemetry
    instrumentor = GeminiInstrumentor()
    instrumentor.instrument()
    assert all(isinstance(vars(owner)[name], FunctionWrapper) for owner, name in places)
    instrumentor.uninstrument()
    assert all(vars(owner)[name] is function for (owner, name), function in zip(places, before, strict=True))


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.parametrize("status", [429, 503])
def test_resends(
    capture_tts: Capture, observe: Observe, gemini: Gemini, client: Callable[..., Client], way: str, status: int
) -> None:
    """A request that the client sends once more, as the host asks: one attempt, which says how often, why and after how long."""
    observe(ResendsInstrumentor, GeminiInstrumentor)
    gemini.passing = str(status)
    getattr(client(gemini, attempts=3), way)()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [(attempt.outcome, attempt["tts.resend.count"]) for attempt in synthesis.attempts] == [("ok", 1)]
    (event,) = [event for span in capture_tts.spans for event in span.events if event.name == "tts.resend"]
    assert event.attributes is not None
    assert event.attributes["http.response.status_code"] == status
    assert event.attributes["error.type"] == {429: "rate_limited", 503: "unavailable"}[status]
    assert 0 <= float(str(event.attributes["tts.resend.delay"])) < 10


def test_a_price(capture_tts: Capture, observe: Observe, gemini: Gemini, price: Callable[[str], None]) -> None:
    """That the user gave."""
    price("gcp.gemini")
    observe(GeminiInstrumentor)
    Client(gemini, asynchronous=False).whole()
    assert bill(capture_tts) == {"span": pytest.approx(25 * 4e-6), "cost": pytest.approx(25 * 4e-6), "unpriced": 0}


@pytest.mark.parametrize(
    ("media_type", "name", "rate"),
    [
        ("audio/L16;codec=pcm;rate=24000", "pcm16", 24000), ("audio/pcm; rate=16000", "pcm16", 16000), ("audio/L16", "pcm16", 24000),
        ("audio/L16;rate=x", "pcm16", 24000), ("audio/wav", "wav", None), ("audio/mp3", "mp3", None), ("audio/", "_OTHER", None),
    ],
)  # fmt: skip
def test_which_audio_is_read(media_type: str, name: str, rate: int | None) -> None:
    """As the answer says."""
    read = audio_format(media_type)
    assert (read.name, getattr(read, "sample_rate", None)) == (name, rate)
