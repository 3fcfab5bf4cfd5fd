"""A prefork server: one process sets telemetry up and loads the voice, its forked workers serve.

Each worker exports for itself, under its own `service.instance.id`: requests are neither lost nor counted twice.

    python examples/prefork_server.py --port 8080 --workers 4
    curl --data "Hello, world." http://127.0.0.1:8080/ --output hello.pcm
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np

import otel_tts
from otel_tts import PCM16

RATE = 16_000


class Voice:
    """Stands for an engine: a model that is loaded once, before the fork, and shared by all workers."""

    def __init__(self) -> None:
        self._pitches = np.linspace(150, 600, 256)

    def speak(self, text: str) -> bytes:
        time = np.arange(RATE // 20) / RATE
        tones = [np.sin(2 * np.pi * self._pitches[ord(letter) % 256] * time) for letter in text]
        return (np.concatenate(tones) * 20_000).astype("<i2").tobytes()


class Handler(BaseHTTPRequestHandler):
    voice: Voice
    tts: otel_tts.Telemetry

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.tts.synthesis(text=text, voice="tone") as synthesis, synthesis.attempt("tone") as attempt:
            audio = attempt.audio(self.voice.speak(text), PCM16(RATE))
        self.send_response(200)
        self.send_header("X-Trace-Id", synthesis.trace_id)
        self.send_header("X-Worker", str(os.getpid()))
        self.end_headers()
        self.wfile.write(audio)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are telemetry, not log lines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()

    # Workers end by SIGTERM, which would lose what is not exported yet: they inherit the flush that is set up here.
    otel_tts.configure(service_name="prefork", local=True, handle_sigterm=True)
    Handler.tts = otel_tts.Telemetry(voices=["tone"])
    Handler.voice = Voice()
    server = HTTPServer(("127.0.0.1", arguments.port), Handler)

    workers = set()
    for _ in range(arguments.workers):
        if (worker := os.fork()) == 0:
            server.serve_forever()
        workers.add(worker)

    def end(*_: object) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(worker, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    print(f"Serving on http://127.0.0.1:{server.server_port} with {len(workers)} workers.", flush=True)
    while workers:
        workers -= {os.wait()[0]}


if __name__ == "__main__":
    main()
