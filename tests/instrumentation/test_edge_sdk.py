"""edge-tts, the real package, against a local server of the protocol that it speaks, with a real engine behind it.

That protocol is Microsoft's own and has no specification and no other server, so this one says what the package expects.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import re
import threading
from collections.abc import Callable, Iterator
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any

import hibari
import pytest
import soundfile

from otel_tts import Telemetry
from otel_tts.instrumentation.edge import EdgeInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import SOME, counts, tree

edge_tts = pytest.importorskip("edge_tts", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = " Hello there & hello. "
OF_VOICE = {"tts.voice": "en-US-EmmaMultilingualNeural", "tts.language": "en-US"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}


class Service:
    """Speaks MP3 with Hibari, in pieces. It may be told to refuse, to answer nothing, to hang after its audio, or to give none."""

    def __init__(self) -> None:
        self.engine = hibari.Hibari(threads=1)
        self.status: int | None = None
        self.deaf = False
        self.hangs = False
        self.silent = False
        self.asked = threading.Event()

    async def serve(self, started: Callable[[int], None], over: asyncio.Event) -> None:
        """Until it is over."""
        web = import_module("aiohttp.web")
        app = web.Application()
        app.router.add_get("/", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        started(runner.addresses[0][1])
        await over.wait()
        await runner.cleanup()

    async def answer(self, request: Any) -> Any:
        """One utterance."""
        web = import_module("aiohttp.web")
        if self.status is not None:
            return web.Response(status=self.status)
        if self.deaf:
            await asyncio.sleep(30)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if "Path:ssml" not in message.data:
                continue
            self.asked.set()
            text = unescape(re.sub(r"<[^>]*>", "", message.data.partition("\r\n\r\n")[2]))
            await socket.send_str("Path:turn.start\r\n\r\n{}")
            for piece in () if self.silent else self.spoken(text):
                head = b"X-RequestId:1\r\nContent-Type:audio/mpeg\r\nPath:audio\r\n"
                await socket.send_bytes(len(head).to_bytes(2, "big") + head + piece)
            if self.hangs:
                await asyncio.sleep(30)
            await socket.send_str("Path:turn.end\r\n\r\n{}")
        return socket

    def spoken(self, text: str) -> Iterator[bytes]:
        """As MP3, in pieces."""
        file = io.BytesIO()
        soundfile.write(file, self.engine(text), 24000, format="MP3")
        data = file.getvalue()
        yield from (data[at : at + 2000] for at in range(0, len(data), 2000))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, in a loop of its own, at the address that the package calls."""
    service, ready = Service(), threading.Event()
    running: dict[str, Any] = {}

    def started(port: int) -> None:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", f"ws://127.0.0.1:{port}/?")
        ready.set()

    async def main() -> None:
        running["over"], running["loop"] = asyncio.Event(), asyncio.get_running_loop()
        await service.serve(started, running["over"])

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield service
    finally:
        running["loop"].call_soon_threadsafe(running["over"].set)
        thread.join(10)


async def _stream(communicate: Any, _: Path) -> int:
    return sum([len(piece["data"]) async for piece in communicate.stream() if piece["type"] == "audio"])


async def _stream_sync(communicate: Any, _: Path) -> int:
    return sum(len(piece["data"]) for piece in communicate.stream_sync() if piece["type"] == "audio")


async def _save(communicate: Any, file: Path) -> int:
    await communicate.save(str(file))
    return (await asyncio.to_thread(file.stat)).st_size


async def _save_sync(communicate: Any, file: Path) -> int:
    communicate.save_sync(str(file))
    return (await asyncio.to_thread(file.stat)).st_size


@pytest.mark.parametrize("speak", [_stream, _stream_sync, _save, _save_sync])
async def test_what_the_service_speaks(
    capture_tts: Capture, observe: Observe, service: Service, speak: Callable[..., Any], tmp_path: Path
) -> None:
    """To its last piece, however it is asked for; MP3 is not read, so there is no duration, and nothing is guessed."""
    observe(EdgeInstrumentor, ThreadsInstrumentor)
    size = await speak(edge_tts.Communicate(TEXT), tmp_path / "speech.mp3")
    assert size > 2000
    spoken = {"tts.audio.format": "mp3", "tts.audio.sample_rate": 24000, "tts.stream.chunk.count": -(-size // 2000)}
    expected = OF_VOICE | {"tts.time_to_first_byte": SOME}
    assert capture_tts.tree() == [
        tree("microsoft.edge", None, characters=len(TEXT), stream=True, of_both=spoken, of_synthesis=expected)
    ]
    assert counts(capture_tts) == ONE
    assert [span.kind.name for span in capture_tts.spans] == ["CLIENT", "INTERNAL"]


@pytest.mark.parametrize(
    ("asked", "voice", "language"),
    [
        ("de-DE-SeraphinaMultilingualNeural", "de-DE-SeraphinaMultilingualNeural", "de-DE"),
        ("Microsoft Server Speech Text to Speech Voice (zh-CN-liaoning, XiaobeiNeural)", "zh-CN-liaoning-XiaobeiNeural", "zh-CN-liaoning"),
    ],
)  # fmt: skip
async def test_voices_have_one_name(
    capture_tts: Capture, observe: Observe, service: Service, asked: str, voice: str, language: str
) -> None:
    """However they are asked for."""
    observe(EdgeInstrumentor)
    await _stream(edge_tts.Communicate(text=TEXT, voice=asked), Path())
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.voice"], synthesis["tts.language"]) == (voice, language)


async def test_a_stream_is_as_lazy_as_it_was(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """And an asynchronous generator."""
    observe(EdgeInstrumentor)
    stream = edge_tts.Communicate(TEXT).stream()
    assert inspect.isasyncgen(stream)
    assert not service.asked.is_set()
    assert capture_tts.tree() == []


async def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """Cancelled."""
    observe(EdgeInstrumentor)
    stream = edge_tts.Communicate(TEXT).stream()
    await anext(stream)
    await stream.aclose()
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [(400, "rejected", "invalid_input"), (429, "error", "rate_limited"), (503, "error", "unavailable")],
)
async def test_a_refusal(capture_tts: Capture, observe: Observe, service: Service, status: int, outcome: str, error: str) -> None:
    """The package's own exception reaches the host; the status says what it was."""
    observe(EdgeInstrumentor)
    service.status = status
    with pytest.raises(import_module("aiohttp").WSServerHandshakeError):
        await _stream(edge_tts.Communicate(TEXT), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [(outcome, error)]
    assert counts(capture_tts) == (ONE if outcome == "rejected" else FAILED)


async def test_an_answer_without_audio(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """The package calls that an error."""
    observe(EdgeInstrumentor)
    service.silent = True
    with pytest.raises(edge_tts.exceptions.NoAudioReceived):
        await _stream(edge_tts.Communicate(TEXT), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "_OTHER")]


async def test_a_timeout(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """The package's patience is at its end; it has none once the service answers."""
    observe(EdgeInstrumentor)
    service.deaf = True
    with pytest.raises(TimeoutError):
        await _stream(edge_tts.Communicate(TEXT, receive_timeout=1), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "timeout")]
    assert counts(capture_tts) == FAILED


async def test_a_cancelled_task(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """While it waits for more."""
    observe(EdgeInstrumentor)
    service.hangs = True
    task = asyncio.create_task(_stream(edge_tts.Communicate(TEXT), Path()))
    assert await asyncio.to_thread(service.asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


async def test_inside_a_request_it_is_an_attempt(capture_tts: Capture, observe: Observe, service: Service) -> None:
    """And inside an attempt it is that one."""
    observe(EdgeInstrumentor)
    tts = Telemetry()
    async with tts.synthesis(TEXT):
        await _stream(edge_tts.Communicate(TEXT), Path())
    async with tts.synthesis(TEXT) as s, s.attempt("microsoft.edge", remote=True):
        await _stream(edge_tts.Communicate(TEXT), Path())
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["microsoft.edge"]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


async def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], service: Service) -> None:
    """Of the text as it was given, once."""
    price("microsoft.edge")
    observe(EdgeInstrumentor)
    await _stream(edge_tts.Communicate(TEXT), Path())
    assert bill(capture_tts) == {"span": pytest.approx(88e-6), "cost": pytest.approx(88e-6), "unpriced": 0}


def test_the_functions_come_back(observe: Observe) -> None:
    """Of the same kinds in between, and then the very same; what they refuse, they refuse as before."""
    kind, names = edge_tts.Communicate, ("__init__", "stream")
    before = [vars(kind)[name] for name in names]
    EdgeInstrumentor().instrument()
    try:
        for name, original in zip(names, before, strict=True):
            assert vars(kind)[name] is not original
            assert inspect.signature(getattr(kind, name)) == inspect.signature(original)
        assert inspect.isasyncgenfunction(kind.stream)
        with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'text'"):
            kind()
    finally:
        EdgeInstrumentor().uninstrument()
    assert [vars(kind)[name] for name in names] == before
