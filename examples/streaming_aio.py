"""An asynchronous gRPC service that streams the audio, sentence by sentence.

    python examples/streaming_aio.py --port 50051

There is no proto, to keep it short: a request is the text, each response is PCM (16 bit, mono, 24 kHz).
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable

import grpc.aio
import hibari
import numpy as np

import otel_tts
from otel_tts import PCM16, Telemetry
from otel_tts.grpc import aio_server_interceptor

FORMAT = PCM16(hibari.SAMPLE_RATE)


class Voice:
    """The engine: a small one, under Apache-2.0. Put yours in its place."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari(threads=1)

    async def __call__(self, text: str) -> AsyncIterator[bytes]:
        sentences = self._hibari.stream(text, seed=0)
        while (samples := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class Speech:
    """The servicer."""

    def __init__(self, tts: Telemetry, engine: Callable[[str], AsyncIterator[bytes]]) -> None:
        self.tts = tts
        self.engine = engine

    async def Speak(self, text: str, context: grpc.aio.ServicerContext[str, bytes]) -> AsyncIterator[bytes]:
        synthesis = self.tts.synthesis(text=text, voice="heart", language="en-US", stream=True)
        async for chunk in synthesis.stream(self.engine(text), "hibari", "heart", audio=FORMAT):
            yield chunk


async def serve(tts: Telemetry, engine: Callable[[str], AsyncIterator[bytes]], port: int = 0) -> tuple[grpc.aio.Server, int]:
    """Start a server; gives it and its port."""
    speak: grpc.RpcMethodHandler[str, bytes] = grpc.unary_stream_rpc_method_handler(
        Speech(tts, engine).Speak, request_deserializer=bytes.decode
    )
    handlers = grpc.method_handlers_generic_handler("example.Speech", {"Speak": speak})
    server = grpc.aio.server(handlers=[handlers], interceptors=[aio_server_interceptor(tts)])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    otel_tts.configure(service_name="streaming-aio", local=True, handle_sigterm=True)
    server, port = await serve(Telemetry(voices=["heart"], languages=["en-US"]), Voice(), arguments.port)
    print(f"Serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
