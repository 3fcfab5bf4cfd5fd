"""A local server of the HTTP protocols of ElevenLabs, Deepgram, Cartesia and OpenAI, with Hibari behind it.

Paths: ``/v1/text-to-speech/VOICE`` and ``/v1/text-to-dialogue`` with their ``/stream`` and ``/with-timestamps``, ``/v1/speak``,
``/v2/speak``, ``/tts/bytes``, ``/tts/sse``,
``/infill/bytes``, ``/audio/speech``. Audio is 16 bit PCM at 24 kHz, whatever is asked for.
"""

from __future__ import annotations

import email
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

import hibari
import numpy as np

RATE = 24000
STAMPS: dict[str, Any] = {"alignment": None, "normalized_alignment": None, "voice_segments": []}


class SpeechHttp(ThreadingHTTPServer):
    """The server, and what it may do wrong. All its figures are what it saw itself."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.engine = hibari.Hibari(threads=1)
        self.lock = Lock()
        list(self.engine.stream("Warm.", seed=0))  # the first time takes longest
        self.over = Event()
        self.reset()

    def reset(self) -> None:
        """Nothing is wrong, nothing was asked."""
        self.statuses: list[int] = []
        """Of the next requests; then 200."""
        self.fault = ""
        """After the first audio: ``lost`` (the connection ends), ``hang``; of events: ``error``, ``no end`` (no event for the end)."""
        self.audio = b""
        """What the last answer sent."""
        self.asked = 0
        """How many requests came."""

    @contextmanager
    def running(self) -> Iterator[SpeechHttp]:
        """Serve in a thread of its own."""
        thread = Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self.shutdown()
            self.server_close()
            thread.join(10)

    def spoken(self, text: str) -> Iterator[bytes]:
        """The engine's audio, in pieces."""
        with self.lock:
            pieces = list(self.engine.stream(text, seed=0))
        for samples in pieces:
            yield (samples * 32767).astype("<i2").tobytes() if len(samples) else np.zeros(0, "<i2").tobytes()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on stderr."""


def _event(**fields: Any) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SpeechHttp

    def do_POST(self) -> None:
        """Answer as the protocol of the path has it."""
        server, path = self.server, self.path.partition("?")[0]
        received = (
            self.rfile.read(int(self.headers["Content-Length"] or 0)) if "Content-Length" in self.headers else self._chunks()
        )
        server.asked += 1
        self.close_connection = True
        status = server.statuses.pop(0) if server.statuses else 200
        if status != 200:
            self._head(status, "application/json")
            self._send(b'{"detail": "no"}')
            self._send(b"")
            return
        pieces = server.spoken(self._text(received))
        if path.endswith("/sse"):
            self._head(200, "text/event-stream")
            self._events(pieces)
            return
        if path.endswith("/with-timestamps") and "/stream/" not in path:
            server.audio = b"".join(pieces)
            self._head(200, "application/json")
            self._send(json.dumps({"audio_base64": b64encode(server.audio).decode(), **STAMPS}).encode())
            self._send(b"")
            return
        stamped = path.endswith("/with-timestamps")
        self._head(200, "application/json" if stamped else "audio/pcm;rate=24000")
        for piece in pieces:
            server.audio += piece
            self._send(json.dumps({"audio_base64": b64encode(piece).decode(), **STAMPS}).encode() + b"\n" if stamped else piece)
            if self._breaks():
                return
        self._send(b"")

    def _events(self, pieces: Iterator[bytes]) -> None:
        context: dict[str, Any] = {"context_id": "c", "status_code": 206}
        for piece in pieces:
            self.server.audio += piece
            event = _event(type="chunk", data=b64encode(piece).decode(), done=False, step_time=1.0, **context)
            self._send(event[:100])
            self._send(event[100:])  # an event may come in pieces
            self._send(_event(type="timestamps", done=False, word_timestamps={"words": [], "start": [], "end": []}, **context))
            if self._breaks():
                return
            if self.server.fault == "error":
                self._send(_event(type="error", done=True, error="The engine failed.", context_id="c", status_code=500))
                break
        else:
            if self.server.fault != "no end":
                self._send(_event(type="done", done=True, **context))
        self._send(b"")

    def _breaks(self) -> bool:
        if self.server.fault == "lost":
            self.connection.shutdown(2)
            return True
        if self.server.fault == "hang":
            self.server.over.wait(20)
        return False

    def _text(self, received: bytes) -> str:
        kind = self.headers["Content-Type"]
        if kind.startswith("multipart/"):
            parts = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + received).get_payload()
            fields = {part.get_param("name", header="content-disposition"): part for part in parts}  # type: ignore[union-attr]
            return fields["transcript"].get_payload(decode=True).decode()  # type: ignore[union-attr]
        asked = json.loads(received)
        lines = asked.get("inputs")
        return asked.get("text") or asked.get("transcript") or asked.get("input") or "".join(line["text"] for line in lines)

    def _chunks(self) -> bytes:
        received = b""
        while size := int(self.rfile.readline(), 16):
            received += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return received

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Retry-After-Ms", "10")
        self.send_header("Connection", "close")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def handle_one_request(self) -> None:
        """Whoever has gone away does not get the rest."""
        with suppress(OSError, ValueError):
            super().handle_one_request()

    def finish(self) -> None:
        """See above."""
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""
