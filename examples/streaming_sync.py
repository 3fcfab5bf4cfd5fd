"""A synchronous gRPC service that streams the audio, sentence by sentence.

    python examples/streaming_sync.py --port 50051

There is no proto, to keep it short: a request is the text, each response is PCM (16 bit, mono, 24 kHz).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import hibari
import numpy as np

import otel_tts
from otel_tts import PCM16, Telemetry
from otel_tts.grpc import server_interceptor

FORMAT = PCM16(hibari.SAMPLE_RATE)


class Voice:
    """The engine: a small one, under Apache-2.0. Put yours in its place."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari(threads=1)

    def __call__(self, text: str) -> Iterator[bytes]:
        for samples in self._hibari.stream(text, seed=0):
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class Speech:
    """The servicer."""

    def __init__(self, tts: Telemetry, engine: Callable[[str], Iterator[bytes]]) -> None:
        self.tts = tts
        self.engine = engine

    def Speak(self, text: str, context: grpc.ServicerContext) -> Iterator[bytes]:
        synthesis = self.tts.synthesis(text=text, voice="heart", language="en-US", stream=True)
        yield from synthesis.stream(self.engine(text), "hibari", "heart", audio=FORMAT)


def serve(tts: Telemetry, engine: Callable[[str], Iterator[bytes]], port: int = 0) -> tuple[grpc.Server, int]:
    """Start a server; gives it and its port."""
    speak: grpc.RpcMethodHandler[str, bytes] = grpc.unary_stream_rpc_method_handler(
        Speech(tts, engine).Speak, request_deserializer=bytes.decode
    )
    handlers = grpc.method_handlers_generic_handler("example.Speech", {"Speak": speak})
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handlers], interceptors=[server_interceptor(tts)])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    otel_tts.configure(service_name="streaming-sync", local=True, handle_sigterm=True)
    server, port = serve(Telemetry(voices=["heart"], languages=["en-US"]), Voice(), arguments.port)
    print(f"Serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
