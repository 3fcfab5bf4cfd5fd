"""An HTTP service that streams the audio, sentence by sentence, with Starlette.

    python examples/starlette_stream.py --port 8080
    curl --data "Hello there. How are you?" http://127.0.0.1:8080/speech --output hello.pcm

The body of an answer is PCM (16 bit, mono, 24 kHz). There is no RPC here that could tell how a request went, so the request ends
with its stream: when a client hangs up, Starlette drops the stream, and that is the outcome `cancelled`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable

import hibari
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import otel_tts
from otel_tts import PCM16, Telemetry

FORMAT = PCM16(hibari.SAMPLE_RATE)


class Voice:
    """The engine: a small one, under Apache-2.0. Put yours in its place."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari(threads=1)

    async def __call__(self, text: str) -> AsyncIterator[bytes]:
        sentences = self._hibari.stream(text, seed=0)
        while (samples := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def create_app(tts: Telemetry, engine: Callable[[str], AsyncIterator[bytes]]) -> Starlette:
    """The application."""

    async def speak(request: Request) -> Response:
        text = (await request.body()).decode()
        synthesis = tts.synthesis(text=text, voice="heart", language="en-US", stream=True)
        if not any(character.isalnum() for character in text):
            with synthesis:
                synthesis.fail(outcome="rejected", error_type="invalid_input")
            return PlainTextResponse("The text has no letter or digit. Send some words.\n", 400)
        chunks = synthesis.stream(engine(text), "hibari", "heart", audio=FORMAT)
        return StreamingResponse(chunks, headers={"X-Trace-Id": synthesis.trace_id}, media_type="audio/pcm")

    return Starlette(routes=[Route("/speech", speak, methods=["POST"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    otel_tts.configure(service_name="starlette", local=True, handle_sigterm=True)
    app = create_app(Telemetry(voices=["heart"], languages=["en-US"]), Voice())
    uvicorn.run(app, host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
