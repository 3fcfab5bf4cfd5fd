"""An asynchronous gRPC service that answers with the whole audio, and asks a second engine when the first one fails.

    python examples/unary_aio.py --port 50051

There is no proto, to keep it short: a request is the text, a response is PCM (16 bit, mono, 24 kHz).
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping

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

    def __call__(self, text: str) -> bytes:
        samples: np.ndarray = np.clip(self._hibari(text, seed=0), -1, 1) * 32767
        return samples.astype("<i2").tobytes()


class Speech:
    """The servicer."""

    def __init__(self, tts: Telemetry, engines: Mapping[str, Callable[[str], bytes]]) -> None:
        self.tts = tts
        self.engines = engines

    async def Speak(self, text: str, context: grpc.aio.ServicerContext[str, bytes]) -> bytes:
        async with self.tts.synthesis(text=text, voice="heart", language="en-US") as synthesis:
            for provider, engine in self.engines.items():
                try:
                    async with synthesis.attempt(provider, "heart") as attempt:
                        return attempt.audio(await asyncio.to_thread(engine, text), FORMAT)
                except (OSError, RuntimeError):  # whatever your engines raise: the attempt has noted it
                    continue
            return await context.abort(grpc.StatusCode.UNAVAILABLE, "No engine could speak. Try again later.")


async def serve(tts: Telemetry, engines: Mapping[str, Callable[[str], bytes]], port: int = 0) -> tuple[grpc.aio.Server, int]:
    """Start a server; gives it and its port."""
    speak: grpc.RpcMethodHandler[str, bytes] = grpc.unary_unary_rpc_method_handler(
        Speech(tts, engines).Speak, request_deserializer=bytes.decode
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
    otel_tts.configure(service_name="unary-aio", local=True, handle_sigterm=True)
    server, port = await serve(Telemetry(voices=["heart"], languages=["en-US"]), {"hibari": Voice()}, arguments.port)
    print(f"Serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
