"""ElevenLabs' other ways of asking, with its SDK: timestamps beside the audio, and dialogues of several voices."""

from __future__ import annotations

import asyncio
import inspect
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.resends import ResendsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe

elevenlabs = pytest.importorskip("elevenlabs", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

PIECES = [bytes(range(256)) * 50, bytes(range(256)) * 75]
"""1 s at 16 kHz in all."""
LINES = [{"text": "Hello. ", "voice_id": "rachel"}, {"text": "And hello.", "voice_id": "sam"}]


class _Vendor(BaseHTTPRequestHandler):
    """The four kinds of answers, as ElevenLabs documents them; a first request is refused where the text says so."""

    protocol_version = "HTTP/1.1"
    refused: set[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stamps = {"alignment": None, "normalized_alignment": None}
        pieces = [json.dumps({"audio_base64": b64encode(piece).decode(), **stamps}).encode() + b"\n" for piece in PIECES]
        if "busy" in asked.get("text", "") and not self.refused:
            self.refused.add(asked["text"])
            self._answer(429, [b"{}"], "application/json")
        elif self.path.partition("?")[0].endswith("stream/with-timestamps"):
            self._answer(200, pieces, "application/json")
        elif "with-timestamps" in self.path:
            whole = {"audio_base64": b64encode(b"".join(PIECES)).decode(), **stamps}
            self._answer(200, [json.dumps(whole).encode()], "application/json")
        else:
            self._answer(200, PIECES, "audio/pcm")

    def _answer(self, status: int, pieces: list[bytes], kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Retry-After-Ms", "10")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def vendor() -> Iterator[str]:
    """Its address."""
    handler = type("Handler", (_Vendor,), {"refused": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def answered(client: str, url: str, speak: Callable[[Any], Any]) -> list[Any]:
    """All that a call gives, of either client, whatever kind of call it is."""
    async with httpx.AsyncClient() as asynchronous:
        with httpx.Client() as synchronous:
            http: Any = asynchronous if client.startswith("Async") else synchronous
            result = speak(getattr(elevenlabs, client)(api_key="none", base_url=url, httpx_client=http))
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, "__aiter__"):
                return [piece async for piece in result]
            return list(result) if isinstance(result, Iterator) else [result]


CALLS = {
    "convert_with_timestamps": False,
    "stream_with_timestamps": True,
}


@pytest.mark.parametrize("client", ["ElevenLabs", "AsyncElevenLabs"])
@pytest.mark.parametrize("method", CALLS)
def test_with_timestamps(capture_tts: Capture, observe: Observe, vendor: str, client: str, method: str) -> None:
    """The audio is decoded to be measured, and the host gets what it asked for."""
    observe(ElevenLabsInstrumentor)

    def speak(made: Any) -> Any:
        asked = {"text": "Hello.", "output_format": "pcm_16000", "model_id": "eleven_flash_v2_5"}
        return getattr(made.text_to_speech, method)("rachel", **asked)

    answers = asyncio.run(answered(client, vendor, speak))
    assert len(answers) == (len(PIECES) if CALLS[method] else 1)
    synthesis = capture_tts.synthesis(outcome="ok")
    kept = ("gen_ai.request.model", "tts.voice", "tts.text.length", "tts.audio.duration", "gen_ai.request.stream")
    assert [synthesis[key] for key in kept] == ["eleven_flash_v2_5", "rachel", 6, 1.0, CALLS[method]]


@pytest.mark.parametrize("client", ["ElevenLabs", "AsyncElevenLabs"])
@pytest.mark.parametrize("method", ["convert", "stream"])
def test_a_dialogue(capture_tts: Capture, observe: Observe, vendor: str, client: str, method: str) -> None:
    """One request, whose text is what all say; of several voices none is the request's."""
    observe(ElevenLabsInstrumentor)

    def speak(made: Any) -> Any:
        lines = [elevenlabs.DialogueInput(**line) for line in LINES]
        return getattr(made.text_to_dialogue, method)(inputs=lines, output_format="pcm_16000")

    assert b"".join(asyncio.run(answered(client, vendor, speak))) == b"".join(PIECES)
    synthesis = capture_tts.synthesis(outcome="ok")
    kept = ("gen_ai.request.model", "tts.text.length", "tts.audio.duration", "gen_ai.request.stream")
    assert [synthesis[key] for key in kept] == ["eleven_v3", 17, 1.0, True]
    request = next(span for span in capture_tts.spans if span.name == "tts.synthesize")
    assert "tts.voice" not in (request.attributes or {})


def test_what_it_sends_once_more(capture_tts: Capture, observe: Observe, vendor: str) -> None:
    """A whole answer is asked for again after a 429: one attempt, with a resend."""
    observe(ElevenLabsInstrumentor, ResendsInstrumentor)
    asked = {"text": "busy", "output_format": "pcm_16000"}
    asyncio.run(answered("ElevenLabs", vendor, lambda made: made.text_to_speech.convert_with_timestamps("rachel", **asked)))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (len(synthesis.attempts), synthesis["tts.resend.count"]) == (1, 1)
