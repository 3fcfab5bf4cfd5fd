"""OpenAI's SDK, both clients, against a real server that speaks its protocol, and against one that fails as told."""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import inspect
import io
import json
import wave
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from otel_tts import PCM16, Encoded, Telemetry, Wav
from otel_tts.core.formats import AudioFormat
from otel_tts.core.guard import guard
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.testing.capture import Capture
from tests.core.signals import wav
from tests.instrumentation.conftest import Faulty, Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, SOME, audio, counts, tree

openai = pytest.importorskip("openai", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = "Hello there. How are you?"
LONG = "One sentence follows another one. " * 2
PCM = bytes(range(256)) * 188  # about 1 s at 24 kHz
RAW = {"Content-Type": "audio/pcm;rate=24000"}
ASKED = {"model": "tts-1", "voice": "en_US-joe-medium"}
OF_REQUEST = {"tts.voice": "en_US-joe-medium"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}


class Client:
    """Either client, driven in the same words."""

    def __init__(self, url: str, *, asynchronous: bool, **options: Any) -> None:
        self.asynchronous = asynchronous
        self._options = {"base_url": url, "api_key": "none", "max_retries": 0, **options}

    def run(self, synchronous: Callable[[Any], Any], asynchronous: Callable[[Any], Any]) -> Any:
        """What the function of its kind returns, called with ``audio.speech``."""
        if not self.asynchronous:
            with openai.OpenAI(**self._options) as client:
                return synchronous(client.audio.speech)

        async def run() -> Any:
            async with openai.AsyncOpenAI(**self._options) as client:
                return await asynchronous(client.audio.speech)

        return asyncio.run(run())

    def create(self, text: str, **options: Any) -> Any:
        """A unary call."""
        asked = {**ASKED, "input": text, **options}
        return self.run(lambda speech: speech.create(**asked), lambda speech: speech.create(**asked))

    def stream(self, text: str, most: int | None = None, **options: Any) -> bytes:
        """A streaming call, read to its end or for ``most`` pieces."""
        asked = {**ASKED, "input": text, **options}

        def synchronous(speech: Any) -> bytes:
            with speech.with_streaming_response.create(**asked) as response:
                pieces = response.iter_bytes()
                return b"".join(pieces if most is None else [next(pieces) for _ in range(most)])

        async def asynchronous(speech: Any) -> bytes:
            async with speech.with_streaming_response.create(**asked) as response:
                pieces = response.iter_bytes()
                if most is None:
                    return b"".join([piece async for piece in pieces])
                return b"".join([await anext(pieces) for _ in range(most)])

        return bytes(self.run(synchronous, asynchronous))


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Callable[..., Client]:
    """Makes a client of either kind for a base URL."""
    return lambda url, **options: Client(url, asynchronous=request.param == "async", **options)


def length(data: bytes) -> float:
    """Seconds of a WAV."""
    with wave.open(io.BytesIO(data)) as file:
        return float(file.getnframes() / file.getframerate())


def test_a_whole_answer(capture_tts: Capture, observe: Observe, studio: str, client: Callable[..., Client]) -> None:
    """A WAV is measured as it is, and the answer is the SDK's own."""
    observe(OpenAIInstrumentor)
    answer = client(studio).create(TEXT, response_format="wav")
    seconds = length(answer.content)
    assert type(answer).__name__ == "HttpxBinaryResponseContent"
    assert b"".join(answer.iter_bytes()) == answer.read() == answer.content
    delivered = {"tts.audio.delivered_duration": pytest.approx(seconds)}
    spoken = audio(seconds, 22050, "wav")
    of_synthesis = OF_REQUEST | QUALITY | delivered
    assert capture_tts.tree() == [tree("openai", "tts-1", characters=25, of_both=spoken, of_synthesis=of_synthesis)]
    assert counts(capture_tts) == ONE
    assert [s.kind.name for s in capture_tts.spans] == ["CLIENT", "INTERNAL"]


def test_a_streamed_answer(capture_tts: Capture, observe: Observe, studio: str, client: Callable[..., Client]) -> None:
    """To its last byte, with what a listener notices."""
    observe(OpenAIInstrumentor)
    data = client(studio).stream(TEXT + LONG, response_format="wav")
    seconds = length(data)
    (synthesis,) = capture_tts.syntheses()
    chunks = {"tts.stream.chunk.count": synthesis["tts.stream.chunk.count"]}
    assert chunks["tts.stream.chunk.count"] >= 2
    of_synthesis = OF_REQUEST | QUALITY | PLAYED | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    spoken = audio(seconds, 22050, "wav") | chunks
    assert capture_tts.tree() == [
        tree("openai", "tts-1", characters=len(TEXT + LONG), stream=True, of_both=spoken, of_synthesis=of_synthesis)
    ]
    assert counts(capture_tts) == ONE


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("ending", "outcome"),
    [([_event("speech.audio.done", usage={})], "ok"), ([_event("error", error={"message": "no"})], "partial"), ([], "partial")],
)
def test_audio_in_events(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    ending: list[bytes],
    outcome: str,
    stream: bool,
) -> None:
    """``stream_format="sse"``: the audio in the events is measured, and an error among them, or no end, is a failure."""
    observe(OpenAIInstrumentor)
    audio = [_event("speech.audio.delta", audio=base64.b64encode(PCM).decode())] * 2
    faulty.headers, faulty.pieces = {"Content-Type": "text/event-stream"}, [*audio, *ending]
    asked = {"response_format": "pcm", "stream_format": "sse", "extra_body": {"sample_rate": 16000}}
    if stream:
        assert client(faulty.url).stream(TEXT, **asked) == b"".join(faulty.pieces)
    else:
        assert client(faulty.url).create(TEXT, **asked).content == b"".join(faulty.pieces)
    synthesis = capture_tts.synthesis(outcome=outcome)
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(2 * len(PCM) / 32000)


@pytest.mark.parametrize(
    ("headers", "asked", "rate"),
    [
        ({}, {}, None),
        ({"Content-Type": "audio/pcm;rate=16000;channels=1"}, {}, 16000),
        ({"Content-Type": "application/octet-stream"}, {"extra_body": {"sample_rate": 22050}}, 22050),
        ({"Content-Type": "audio/pcm"}, {"extra_query": {"sample_rate": "8000"}}, 8000),
        ({"Content-Type": "audio/L16; rate=44100"}, {"extra_body": {"sample_rate": 22050}}, 44100),
        ({"Content-Type": "audio/mpeg"}, {"extra_body": {"sample_rate": 22050}}, None),
    ],
)
def test_raw_samples_have_the_rate_that_is_stated(
    capture_tts: Capture, observe: Observe, faulty: Faulty, headers: dict[str, str], asked: dict[str, Any], rate: int | None
) -> None:
    """By the answer, else by the question. A server that is not OpenAI's has a rate that only it knows: never 24 kHz by guess."""
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces = headers, [PCM]
    Client(faulty.url, asynchronous=False).stream(TEXT, response_format="pcm", **asked)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.sample_rate"] == rate
    duration = None if rate is None else pytest.approx(len(PCM) / 2 / rate)
    assert synthesis["tts.audio.duration"] == duration
    assert synthesis["tts.time_to_first_byte"] >= 0


@pytest.mark.parametrize(
    ("headers", "asked", "warnings_logged"),
    [
        ({}, {}, 1),
        ({"Content-Type": "audio/pcm"}, {}, 1),
        ({"Content-Type": "audio/pcm;rate=16000"}, {}, 0),
        ({"Content-Type": "audio/pcm"}, {"extra_body": {"sample_rate": 22050}}, 0),
        ({"Content-Type": "audio/wav"}, {}, 0),
        ({"Content-Type": "audio/mpeg"}, {}, 0),
    ],
)
def test_samples_without_a_rate_are_said_once(
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    asked: dict[str, Any],
    warnings_logged: int,
) -> None:
    """One warning for a server, with its host and each way out; none where the rate is known, or the audio is no raw samples."""
    import_module("otel_tts.instrumentation.openai")._warn_of_rate.cache_clear()  # other tests ask the same host
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces = headers, [PCM]
    for _ in range(2):
        client(faulty.url).stream(TEXT, response_format="pcm", **asked)
    warnings = [record.getMessage() for record in caplog.records if record.name == "otel_tts.instrumentation.openai"]
    assert len(warnings) == warnings_logged
    assert all(word in warning for warning in warnings for word in ("127.0.0.1", "audio/pcm;rate=24000", "sample_rate", "'wav'"))


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com", "me.openai.azure.com"])
def test_openai_itself_speaks_at_its_own_rate(host: str) -> None:
    """24 kHz, as OpenAI documents it: PCM does not say so itself."""
    speech = openai.OpenAI(base_url=f"https://{host}/v1", api_key="none").audio.speech
    asked = OpenAIInstrumentor.targets[0].ask(speech, {**ASKED, "input": TEXT, "response_format": "pcm"})
    assert asked is not None
    assert asked.audio == PCM16(24000)


@pytest.mark.parametrize(
    "host", ["api.openai.com.example.org", "myapi.openai.com", "me.openai.azure.com.example.org", "openai.com", "localhost"]
)
def test_a_host_of_another_name_is_not_openai(host: str) -> None:
    """However like it the name is: its rate is not known."""
    speech = openai.OpenAI(base_url=f"https://{host}/v1", api_key="none").audio.speech
    asked = OpenAIInstrumentor.targets[0].ask(speech, {**ASKED, "input": TEXT, "response_format": "pcm"})
    assert asked is not None
    assert asked.audio == Encoded("pcm16")


UNSTATED = Encoded("pcm16")


@pytest.mark.parametrize("place", ["extra_body", "extra_query"])
@pytest.mark.parametrize("name", ["sample_rate", "sample_rate_hertz", "sampling_rate"])
@pytest.mark.parametrize(
    ("value", "audio"),
    [
        (16000, PCM16(16000)),
        ("8000", PCM16(8000)),
        (22050.0, PCM16(22050)),
        *((value, UNSTATED) for value in ("fast", [8000], 0, -1)),
    ],
)
def test_the_rate_that_was_asked_for(place: str, name: str, value: Any, audio: AudioFormat) -> None:
    """By each name that servers have for it; what is no rate leaves it unknown."""
    assert asked_for(response_format="pcm", **{place: {name: value}}) == audio


@pytest.mark.parametrize(
    ("asked", "audio"),
    [
        ({"extra_body": {"response_format": "wav"}, "response_format": "pcm"}, Wav()),
        ({"extra_query": {"response_format": "opus"}, "response_format": "pcm"}, Encoded("opus")),
        ({"extra_body": {"response_format": "pcm", "sample_rate": 16000}}, PCM16(16000)),
        ({"extra_body": {"sample_rate": 16000}, "extra_query": {"sample_rate": 8000}, "response_format": "pcm"}, PCM16(16000)),
        ({"extra_body": {"sample_rate": 16000}}, Encoded("mp3")),
        *(
            ({"extra_body": other, "response_format": "pcm"}, UNSTATED)
            for other in (None, b"raw", [("sample_rate", 8000)], object())
        ),
    ],
)
def test_what_is_beyond_the_api_is_over_its_own_arguments(asked: dict[str, Any], audio: AudioFormat) -> None:
    """As the SDK sends it; and it takes any object there, of which only a mapping has names."""
    assert asked_for(**asked) == audio


def asked_for(**arguments: Any) -> AudioFormat:
    """The format that a call of a server of one's own asks for."""
    speech = openai.OpenAI(base_url="http://localhost/v1", api_key="none").audio.speech
    asked = OpenAIInstrumentor.targets[0].ask(speech, {**ASKED, "input": TEXT, **arguments})
    assert asked is not None
    return asked.audio


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"detail": "out of credits"}'),
        ("application/octet-stream", b'\n{"error": {"message": "The model is overloaded.", "code": null}}'),
        ("audio/mpeg", b"<!DOCTYPE html>\n<html><head><title>504 Gateway Time-out</title></head></html>"),
        ("text/plain; charset=utf-8", b"Upstream request timeout"),
    ],
)
def test_words_instead_of_audio_are_an_error(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    stream: bool,
    content_type: str,
    body: bytes,
) -> None:
    """Whatever the status says: success with JSON, HTML or text is no speech, and none of it counts as audio."""
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces = {"Content-Type": content_type}, [body[:7], body[7:]]
    speaker = client(faulty.url)
    if stream:
        assert speaker.stream(TEXT, response_format="pcm") == body
    else:
        assert speaker.create(TEXT).content == body
    synthesis = capture_tts.synthesis(outcome="error")
    assert synthesis["error.type"] == "server_error"
    assert not any(synthesis[name] for name in ("tts.audio.duration", "tts.audio.delivered_duration", "tts.time_to_first_byte"))
    assert [attempt.outcome for attempt in synthesis.attempts] == ["error"]


def test_what_cannot_be_read_is_not_guessed(
    capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client]
) -> None:
    """MP3, the API's default: the format, the first byte, and no duration."""
    observe(OpenAIInstrumentor)
    faulty.pieces = [b"ID3" + bytes(500), bytes(500)]
    client(faulty.url).stream(TEXT)
    pieces = capture_tts.synthesis()["tts.stream.chunk.count"]
    spoken = {"tts.audio.format": "mp3", "tts.stream.chunk.count": pieces}
    of_synthesis = OF_REQUEST | {"tts.time_to_first_byte": SOME}
    assert capture_tts.tree() == [tree("openai", "tts-1", characters=25, stream=True, of_both=spoken, of_synthesis=of_synthesis)]


def test_a_server_without_an_encoder(
    capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client]
) -> None:
    """Asked for MP3 it may answer with WAV: the bytes are believed."""
    observe(OpenAIInstrumentor)
    file = io.BytesIO()
    with wave.open(file, "wb") as samples:
        samples.setparams((1, 2, 16000, 0, "NONE", ""))
        samples.writeframes(PCM)
    faulty.pieces = [file.getvalue()]
    client(faulty.url).create(TEXT)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.audio.format"], synthesis["tts.audio.sample_rate"]) == ("wav", 16000)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_without_audio_is_empty(
    capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client], stream: bool
) -> None:
    """Status 200 and not one byte."""
    observe(OpenAIInstrumentor)
    client(faulty.url).stream(TEXT) if stream else client(faulty.url).create(TEXT)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("empty", "no_audio")]
    assert counts(capture_tts) == FAILED


def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client]) -> None:
    """Leaving the block before the end is the caller's word: cancelled, with what was delivered."""
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces = RAW, [PCM]
    faulty.hangs.set()
    data = client(faulty.url).stream(TEXT, most=1, response_format="pcm")
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(data) / 48000)
    assert [a.outcome for a in synthesis.attempts] == ["cancelled"]
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (400, "rejected", "invalid_input"),
        (401, "error", "unauthorized"),
        (404, "error", "not_found"),
        (429, "error", "rate_limited"),
        (500, "error", "server_error"),
        (503, "error", "unavailable"),
    ],
)
def test_a_refusal(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    stream: bool,
    status: int,
    outcome: str,
    error: str,
) -> None:  # fmt: skip
    """The SDK's own exception reaches the host; the status says what it was."""
    observe(OpenAIInstrumentor)
    faulty.status, faulty.pieces = status, [b'{"error": {"message": "Hello there."}}']
    with pytest.raises(openai.APIStatusError) as raised:
        client(faulty.url).stream(TEXT) if stream else client(faulty.url).create(TEXT)
    assert raised.value.status_code == status
    delivered = {"tts.audio.delivered_duration": 0.0}
    assert capture_tts.tree() == [
        tree("openai", "tts-1", characters=25, stream=stream, outcome=outcome, error=error, of_synthesis=OF_REQUEST | delivered)
    ]
    assert counts(capture_tts) == (ONE if outcome == "rejected" else FAILED)


def test_a_real_refusal(capture_tts: Capture, observe: Observe, studio: str, client: Callable[..., Client]) -> None:
    """The real server says 400 to an encoding that it lacks."""
    observe(OpenAIInstrumentor)
    with pytest.raises(openai.BadRequestError):
        client(studio).create(TEXT, response_format="mp3", speed=99)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("rejected", "invalid_input")]


@pytest.mark.parametrize("stream", [True, False])
def test_a_timeout(capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client], stream: bool) -> None:
    """The SDK's patience is a timeout, before and during the answer; audio that had come makes it partial."""
    observe(OpenAIInstrumentor)
    faulty.hangs.set()
    faulty.pieces = [PCM] if stream else []
    impatient = client(faulty.url, timeout=0.2)
    speak = functools.partial(impatient.stream, response_format="pcm") if stream else impatient.create
    with pytest.raises(Exception, match=r"(?i)timed out|^$"):
        speak(TEXT)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("partial" if stream else "error", "timeout")]
    assert counts(capture_tts) == FAILED


def test_an_answer_that_breaks_off(capture_tts: Capture, observe: Observe, faulty: Faulty, client: Callable[..., Client]) -> None:
    """Audio had been delivered, so it is partial."""
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces, faulty.broken = RAW, [PCM], True
    with pytest.raises(Exception, match="incomplete chunked read"):
        client(faulty.url).stream(TEXT, response_format="pcm")
    synthesis = capture_tts.synthesis(outcome="partial")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(PCM) / 48000)


def bare(data: bytes) -> bytes:
    """Compressed without zlib's header, as some servers do it for "deflate"."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def cut(data: bytes) -> list[bytes]:
    """In three pieces."""
    return [data[:5], data[5 : len(data) // 2], data[len(data) // 2 :]]


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)]
    + [(coding, bytes) for coding in ("Identity", "", "nonsense", "identity, nonsense")],
)
@pytest.mark.parametrize("events", [False, True], ids=["audio", "events"])
def test_a_compressed_answer(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    coding: str,
    compress: Callable[[bytes], bytes],
    events: bool,
) -> None:
    """As the client decompresses it: the audio is measured, in a stream too."""
    observe(OpenAIInstrumentor)
    body = wav(PCM, rate=16000)
    if events:
        deltas = [_event("speech.audio.delta", audio=base64.b64encode(piece).decode()) for piece in cut(body)]
        body = b"".join([*deltas, _event("speech.audio.done", usage={})])
    faulty.headers = {"Content-Type": "text/event-stream" if events else "audio/wav", "Content-Encoding": coding}
    faulty.pieces = cut(compress(body))
    asked = {"response_format": "wav", **({"stream_format": "sse"} if events else {})}
    assert client(faulty.url).stream(TEXT, **asked) == body
    assert client(faulty.url).create(TEXT, **asked).content == body
    for synthesis in capture_tts.syntheses():
        assert (synthesis.outcome, synthesis["tts.audio.format"]) == ("ok", "wav")
        assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(PCM) / 32000)
    assert len(capture_tts.syntheses()) == 2


@pytest.mark.parametrize(
    ("coding", "pieces", "outcome", "delivered_s"),
    [
        ("gzip", cut(PCM), "error", 0),
        ("deflate", cut(PCM), "error", 0),
        ("gzip", [*cut(gzip.compress(PCM)[:-8]), b"\0" * 8], "partial", len(PCM) / 48000),
    ],
    ids=["no gzip", "no deflate", "checksum"],
)
def test_an_answer_that_cannot_be_decompressed(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    client: Callable[..., Client],
    coding: str,
    pieces: list[bytes],
    outcome: str,
    delivered_s: float,
) -> None:
    """The client raises: the provider has failed, nobody left. What came before is delivered."""
    observe(OpenAIInstrumentor)
    faulty.headers, faulty.pieces = {**RAW, "Content-Encoding": coding}, pieces
    with pytest.raises(Exception, match=r"Error -3|incorrect"):
        client(faulty.url).stream(TEXT, response_format="pcm")
    synthesis = capture_tts.synthesis(outcome=outcome)
    assert synthesis["error.type"] == "connection"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(delivered_s)
    assert [attempt["error.type"] for attempt in synthesis.attempts] == ["connection"]
    assert counts(capture_tts) == FAILED


@pytest.mark.parametrize("coding", ["br", "gzip, gzip"])
def test_a_coding_that_is_not_read(
    capture_tts: Capture, observe: Observe, faulty: Faulty, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The bytes are not the audio: no duration is guessed, and nobody is told to mend a format that is right."""
    observe(OpenAIInstrumentor)
    data = gzip.compress(gzip.compress(wav(PCM, rate=16000)))
    faulty.headers, faulty.pieces = {"Content-Type": "audio/wav", "Content-Encoding": coding}, [data]
    Client(faulty.url, asynchronous=False).stream(TEXT, response_format="wav")
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.audio.format"], synthesis["tts.audio.duration"]) == ("wav", None)
    assert "cannot be read" not in caplog.text


def test_a_piece_that_is_too_large_to_decompress(
    capture_tts: Capture, observe: Observe, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a piece would take as much memory again as its client takes: it is not read, and the duration is unknown."""
    monkeypatch.setattr(guard, "strict", False)  # it is a warning
    observe(OpenAIInstrumentor)
    body = wav(bytes(17 << 20), rate=16000)
    faulty.headers, faulty.pieces = {"Content-Type": "audio/wav", "Content-Encoding": "gzip"}, [gzip.compress(body)]
    assert Client(faulty.url, asynchronous=False).stream(TEXT, response_format="wav") == body
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] is None


def test_a_server_that_is_not_there(capture_tts: Capture, observe: Observe, client: Callable[..., Client]) -> None:
    """No connection."""
    observe(OpenAIInstrumentor)
    with pytest.raises(openai.APIConnectionError):
        client("http://127.0.0.1:9/v1").create(TEXT)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "connection")]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancelled_task(capture_tts: Capture, observe: Observe, faulty: Faulty, stream: bool) -> None:
    """While it waits for the answer, or for more of it: cancelled, and the task is."""
    observe(OpenAIInstrumentor)
    faulty.hangs.set()
    faulty.pieces = [PCM] if stream else []
    waiting = asyncio.Event()

    async def speak() -> None:
        async with openai.AsyncOpenAI(base_url=faulty.url, api_key="none", max_retries=0) as client:
            if not stream:
                asyncio.get_running_loop().call_later(0.1, waiting.set)
                await client.audio.speech.create(input=TEXT, **ASKED)
            async with client.audio.speech.with_streaming_response.create(input=TEXT, response_format="pcm", **ASKED) as response:
                async for _ in response.iter_bytes():
                    waiting.set()

    task = asyncio.create_task(speak())
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


def test_the_raw_answer(capture_tts: Capture, observe: Observe, studio: str, client: Callable[..., Client]) -> None:
    """``with_raw_response`` is measured like any other."""
    observe(OpenAIInstrumentor)
    asked = {**ASKED, "input": TEXT, "response_format": "wav"}
    raw = client(studio).run(lambda s: s.with_raw_response.create(**asked), lambda s: s.with_raw_response.create(**asked))
    assert (type(raw).__name__, raw.status_code) == ("LegacyAPIResponse", 200)
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] == pytest.approx(length(raw.content))


@pytest.mark.parametrize("stream", [True, False])
def test_inside_a_request_it_is_an_attempt(
    capture_tts: Capture, observe: Observe, studio: str, client: Callable[..., Client], stream: bool
) -> None:
    """And inside an attempt it is that one."""
    observe(OpenAIInstrumentor)
    tts = Telemetry()
    speak = client(studio).stream if stream else client(studio).create
    with tts.synthesis(TEXT):
        speak(TEXT, response_format="wav")
    with tts.synthesis(TEXT) as s, s.attempt("openai", "tts-1", remote=True):
        speak(TEXT, response_format="wav")
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["openai"], ["openai"]]
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


@pytest.mark.parametrize("stream", [True, False])
def test_a_price(
    capture_tts: Capture,
    observe: Observe,
    price: Callable[[str], None],
    studio: str,
    client: Callable[..., Client],
    stream: bool,
) -> None:
    """That the user gave; whose server it really is nobody knows, so it is the price of the SDK's vendor."""
    price("openai")
    observe(OpenAIInstrumentor)
    client(studio).stream(TEXT, response_format="wav") if stream else client(studio).create(TEXT, response_format="wav")
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_the_price_of_several_calls_in_one_request(
    capture_tts: Capture, observe: Observe, price: Callable[[str], None], studio: str, client: Callable[..., Client]
) -> None:
    """Each call costs the text that it sent, not all that the request says."""
    price("openai")
    observe(OpenAIInstrumentor)
    sentences = ("First.", "Second.", "The third.")
    with capture_tts.telemetry(prices={"openai": 4.0}).synthesis(" ".join(sentences)):
        for sentence in sentences:
            client(studio).create(sentence, response_format="wav")
    cost = pytest.approx(sum(map(len, sentences)) * 4e-6)
    assert bill(capture_tts) == {"span": cost, "cost": cost, "unpriced": 0}


def test_arguments_that_the_sdk_refuses_are_the_sdk_s_to_refuse(observe: Observe, client: Callable[..., Client]) -> None:
    """The host gets the exception that it would have got."""
    observe(OpenAIInstrumentor)
    with pytest.raises(TypeError, match=r"create\(\)"):
        client("http://127.0.0.1:9/v1").run(lambda s: s.create(words=TEXT), lambda s: s.create(words=TEXT))


def test_the_functions_come_back(observe: Observe) -> None:
    """Uninstrumented, they are the same objects, and of the same kinds in between."""
    module = import_module("openai.resources.audio.speech")
    Speech, AsyncSpeech = module.Speech, module.AsyncSpeech  # noqa: N806 - classes
    before = Speech.create, AsyncSpeech.create
    OpenAIInstrumentor().instrument()
    try:
        assert [inspect.iscoroutinefunction(kind.create) for kind in (Speech, AsyncSpeech)] == [False, True]
        assert [inspect.signature(kind.create) for kind in (Speech, AsyncSpeech)] == [inspect.signature(f) for f in before]
        assert Speech.create is not before[0]
    finally:
        OpenAIInstrumentor().uninstrument()
    assert Speech.create is before[0]
    assert AsyncSpeech.create is before[1]
