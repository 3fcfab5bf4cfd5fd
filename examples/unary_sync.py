"""A synchronous gRPC service that answers with the whole audio, and keeps it for the next caller.

    python examples/unary_sync.py --port 50051

There is no proto, to keep it short: a request is the text, a response is PCM (16 bit, mono, 24 kHz).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
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

    def __call__(self, text: str) -> bytes:
        samples: np.ndarray = np.clip(self._hibari(text, seed=0), -1, 1) * 32767
        return samples.astype("<i2").tobytes()


class Speech:
    """The servicer."""

    def __init__(self, tts: Telemetry, engine: Callable[[str], bytes]) -> None:
        self.tts = tts
        self.engine = engine
        self.cache: dict[str, bytes] = {}

    def Speak(self, text: str, context: grpc.ServicerContext) -> bytes:
        with self.tts.synthesis(text=text, voice="heart", language="en-US") as synthesis:
            if not any(character.isalnum() for character in text):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The text has no letter or digit. Send some words.")
            with synthesis.lookup("memory") as lookup:
                audio = lookup.found(self.cache.get(text), "hibari", "heart", audio=FORMAT)
            if audio is None:
                with synthesis.attempt("hibari", "heart") as attempt:
                    audio = attempt.audio(self.engine(text), FORMAT)
                self.cache[text] = audio
            return audio


def serve(tts: Telemetry, engine: Callable[[str], bytes], port: int = 0) -> tuple[grpc.Server, int]:
    """Start a server; gives it and its port."""
    speak: grpc.RpcMethodHandler[str, bytes] = grpc.unary_unary_rpc_method_handler(
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
    otel_tts.configure(service_name="unary-sync", local=True, handle_sigterm=True)
    server, port = serve(Telemetry(voices=["heart"], languages=["en-US"]), Voice(), arguments.port)
    print(f"Serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
