"""gTTS, the real package, against a local server of the protocol that it speaks, with a real engine behind it.

That protocol is Google Translate's own and has no specification, so the server says what the package expects. The package calls
``https://translate.google.TLD`` for a ``tld`` of the caller's choice, and checks no certificate.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import io
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import hibari
import pytest
import soundfile

from otel_tts import Telemetry
from otel_tts.instrumentation.gtts import GttsInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import APART, Observe, bill, needs_apart
from tests.instrumentation.pictures import SOME, counts, tree

pytestmark = [
    pytest.mark.vendors,
    needs_apart,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
    # The package leaves the connection of an answer that is not read to its end.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXT = "Hello there. How are you?"
LONG = "This sentence is too long. " * 5
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}


class Translate(ThreadingHTTPServer):
    """Speaks MP3 with Hibari. It may be told which requests fail, and how, or to answer without audio."""

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.engine = hibari.Hibari(threads=1)
        self.tld = f"com@127.0.0.1:{self.server_port}"
        self.hold = threading.Event()
        self.asked = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Nothing is wrong, nothing was asked."""
        self.statuses: list[int] = []
        """Of the next requests; then 200."""
        self.silent = False
        self.texts: list[str] = []
        self.hold.set()
        self.asked.clear()

    @functools.cache  # noqa: B019 - one server, for these tests only
    def spoken(self, text: str) -> bytes:
        """As MP3."""
        file = io.BytesIO()
        soundfile.write(file, self.engine(text), 24000, format="MP3")
        return file.getvalue()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on stderr."""


class _Answer(BaseHTTPRequestHandler):
    server: Translate

    def do_POST(self) -> None:
        server = self.server
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        text, _language, _speed, _ = json.loads(json.loads(form["f.req"][0])[0][0][1])
        server.texts.append(text)
        server.asked.set()
        server.hold.wait(30)
        status = server.statuses.pop(0) if server.statuses else 200
        audio = "[]" if server.silent else f'[\\"{base64.b64encode(server.spoken(text)).decode()}\\"]'
        with suppress(OSError):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f')]}}\'\n\n[["wrb.fr","jQ1olc","{audio}",null,null,null,"generic"]]\n'.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that has signed itself; its key stands beside it."""
    cert = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    files = ["-subj", "/CN=127.0.0.1", "-keyout", cert.with_name("key.pem"), "-out", cert]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return cert


@pytest.fixture(scope="module", autouse=True)
def gtts() -> Iterator[Any]:
    """The package, on the path for these tests only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(APART)])
        import gtts

        yield gtts


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[Translate]:
    """The server, once."""
    server = Translate(certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def translate(server: Translate) -> Iterator[Translate]:
    """The same, with nothing wrong with it, before a test and after it."""
    server.reset()
    yield server
    server.reset()


Make = Callable[..., Any]


@pytest.fixture
def speech(gtts: Any, translate: Translate) -> Make:
    """Makes an object of the package's that asks the server."""
    return lambda text=TEXT, **options: gtts.gTTS(text, lang="en", tld=translate.tld, **options)


def _stream(speech: Any, _: Path) -> int:
    return sum(map(len, speech.stream()))


def _write(speech: Any, _: Path) -> int:
    file = io.BytesIO()
    speech.write_to_fp(file)
    return len(file.getvalue())


def _save(speech: Any, file: Path) -> int:
    speech.save(file)
    return file.stat().st_size


@pytest.mark.parametrize("speak", [_stream, _write, _save])
def test_what_the_service_speaks(
    capture_tts: Capture, observe: Observe, speech: Make, speak: Callable[..., int], tmp_path: Path
) -> None:
    """To its last piece, however it is asked for; MP3 is not read, so there is no duration, and nothing is guessed."""
    plain = speak(speech(), tmp_path / "plain.mp3")
    assert capture_tts.tree() == []
    observe(GttsInstrumentor)
    assert speak(speech(), tmp_path / "speech.mp3") == plain > 2000
    spoken = {"tts.audio.format": "mp3", "tts.stream.chunk.count": 1}
    asked = {"tts.language": "en", "tts.time_to_first_byte": SOME}
    assert capture_tts.tree() == [
        tree("google.translate", None, characters=len(TEXT), stream=True, of_both=spoken, of_synthesis=asked)
    ]
    assert counts(capture_tts) == ONE
    assert [span.kind.name for span in capture_tts.spans] == ["CLIENT", "INTERNAL"]


def test_a_text_of_several_requests(capture_tts: Capture, observe: Observe, speech: Make, translate: Translate) -> None:
    """The package cuts a long text; for its caller it is one."""
    observe(GttsInstrumentor)
    assert _write(speech(LONG), Path()) > 2000
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.stream.chunk.count"] == len(translate.texts) > 1
    assert (synthesis["tts.text.length"], len(synthesis.attempts)) == (len(LONG), 1)


def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, speech: Make) -> None:
    """Cancelled; and until it is pulled, it is as lazy as it was."""
    observe(GttsInstrumentor)
    stream = speech(LONG).stream()
    assert inspect.isgenerator(stream)
    assert capture_tts.tree() == []
    next(stream)
    stream.close()
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize(
    ("statuses", "outcome", "error"),
    [
        ([400], "rejected", "invalid_input"),
        ([429], "error", "rate_limited"),
        ([503], "error", "unavailable"),
        ([200, 503], "partial", "unavailable"),
    ],
)
def test_a_refusal(
    capture_tts: Capture,
    observe: Observe,
    speech: Make,
    gtts: Any,
    translate: Translate,
    statuses: list[int],
    outcome: str,
    error: str,
) -> None:
    """The package's own exception reaches the host; the status says what it was. After audio of a first part it is partial."""
    observe(GttsInstrumentor)
    translate.statuses = statuses
    with pytest.raises(gtts.tts.gTTSError, match=re.escape(str(statuses[-1]))):
        _write(speech(LONG), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [(outcome, error)]
    assert counts(capture_tts) == (ONE if outcome == "rejected" else FAILED)


def test_an_answer_without_audio(capture_tts: Capture, observe: Observe, speech: Make, gtts: Any, translate: Translate) -> None:
    """The package calls that an error."""
    observe(GttsInstrumentor)
    translate.silent = True
    with pytest.raises(gtts.tts.gTTSError):
        _write(speech(), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "_OTHER")]


def test_a_timeout(capture_tts: Capture, observe: Observe, speech: Make, gtts: Any, translate: Translate) -> None:
    """The package hides it behind an exception of its own."""
    observe(GttsInstrumentor)
    translate.hold.clear()
    with pytest.raises(gtts.tts.gTTSError):
        _write(speech(timeout=0.2), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "timeout")]
    assert counts(capture_tts) == FAILED


def test_a_server_that_is_gone(capture_tts: Capture, observe: Observe, gtts: Any) -> None:
    """Likewise."""
    observe(GttsInstrumentor)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"com@127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(gtts.tts.gTTSError):
        _write(gtts.gTTS(TEXT, tld=gone), Path())
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "connection")]


async def test_a_task_that_waits_for_it(capture_tts: Capture, observe: Observe, speech: Make, translate: Translate) -> None:
    """In another thread, as the package knows no tasks: the request is cancelled, and what comes afterwards belongs to it still."""
    observe(GttsInstrumentor, ThreadsInstrumentor)
    translate.hold.clear()
    spoken = asyncio.Event()
    loop = asyncio.get_running_loop()

    def speak() -> None:
        try:
            _write(speech(), Path())
        finally:
            loop.call_soon_threadsafe(spoken.set)

    async def request() -> None:
        async with Telemetry().synthesis(TEXT):
            await asyncio.to_thread(speak)

    task = asyncio.create_task(request())
    await asyncio.to_thread(translate.asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    translate.hold.set()
    await asyncio.wait_for(spoken.wait(), 10)
    assert [[s.outcome, *(a.provider for a in s.attempts)] for s in capture_tts.syntheses()] == [
        ["cancelled", "google.translate"]
    ]
    assert counts(capture_tts) == ONE


def test_inside_a_request_it_is_an_attempt(capture_tts: Capture, observe: Observe, speech: Make) -> None:
    """And inside an attempt it is that one."""
    observe(GttsInstrumentor)
    tts = Telemetry()
    with tts.synthesis(TEXT):
        _write(speech(), Path())
    with tts.synthesis(TEXT) as s, s.attempt("google.translate", remote=True):
        _write(speech(), Path())
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["google.translate"]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], speech: Make) -> None:
    """Of the text as it was given."""
    price("google.translate")
    observe(GttsInstrumentor)
    _write(speech(), Path())
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_the_function_comes_back(observe: Observe, gtts: Any) -> None:
    """Of the same kind in between, and then the very same."""
    before = vars(gtts.gTTS)["stream"]
    GttsInstrumentor().instrument()
    try:
        assert vars(gtts.gTTS)["stream"] is not before
        assert inspect.isgeneratorfunction(gtts.gTTS.stream)
        assert inspect.signature(gtts.gTTS.stream) == inspect.signature(before)
    finally:
        GttsInstrumentor().uninstrument()
    assert vars(gtts.gTTS)["stream"] is before
