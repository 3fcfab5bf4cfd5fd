"""Cloud: a speech server over HTTP that is away now and then, as real ones are. What it says is really spoken, by Hibari."""

from __future__ import annotations

import io
import json
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np

MODEL = "cloud-1"
VOICE = "nova"


class Cloud(ThreadingHTTPServer):
    """A server with OpenAI's speech API on a free port of this machine. While it is away it answers 503.

    Args:
        period_s: from one absence to the next, in seconds.
        absence_s: for how long the provider is away, in seconds.
    """

    daemon_threads = True

    def __init__(self, period_s: float, absence_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _CloudHandler)
        self._since = time.monotonic()
        self._period_s = period_s
        self._absence_s = absence_s

    def run(self) -> None:
        """Load the voice, then serve until shutdown; who asks before that waits."""
        from hibari import SAMPLE_RATE, Hibari

        self.sample_rate = SAMPLE_RATE
        self.engine = Hibari()
        self.engine("1")  # loads its dictionaries, which no lock guards
        self.serve_forever(poll_interval=0.1)

    @property
    def base_url(self) -> str:
        """Up to and without ``/audio/speech``."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def away(self) -> bool:
        """Whether it turns everybody away at the moment."""
        return (time.monotonic() - self._since) % self._period_s >= self._period_s - self._absence_s


@contextmanager
def cloud(*, period_s: float = 8.0, absence_s: float = 3.0) -> Iterator[Cloud]:
    """A server for the length of the block; of every ``period_s`` seconds, it is away for the last ``absence_s``."""
    with Cloud(period_s, absence_s) as server:
        thread = Thread(target=server.run, name="cloud", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _CloudHandler(BaseHTTPRequestHandler):
    server: Cloud
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the list of models: what health checks ask for
        self._answer("application/json", json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("audio/wav", b"" if self.server.away else self._spoken(asked["input"], asked["speed"]))

    def _spoken(self, text: str, speed: float) -> bytes:
        samples = (np.clip(self.server.engine(text, speed=speed), -1, 1) * 32767).astype("<i2")
        audio = io.BytesIO()
        with wave.open(audio, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.server.sample_rate)
            file.writeframes(samples.tobytes())
        return audio.getvalue()

    def _answer(self, content_type: str, body: bytes) -> None:
        if self.server.away:
            self.send_response(503)
            body = b""
        else:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the service's telemetry tells."""
