# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103
"""A speech service that knows nothing of telemetry: gRPC with threads, an engine in a pool of its own, health checks."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import hibari
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc

engine = hibari.Hibari(threads=1)
engines = ThreadPoolExecutor(1)


def pcm(samples):
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class TextToSpeech(tts_pb2_grpc.TextToSpeechServicer):
    def Synthesize(self, request, context):
        samples = engines.submit(engine, request.text).result()
        return tts_pb2.SynthesizeResponse(audio=pcm(samples), rendition=tts_pb2.Rendition(sample_rate=24000))

    def SynthesizeStream(self, request, context):
        if not request.text:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "There is nothing to say.")
        yield tts_pb2.SynthesizeStreamResponse(header=tts_pb2.Rendition(sample_rate=24000))
        for samples in engine.stream(request.text):
            yield tts_pb2.SynthesizeStreamResponse(chunk=tts_pb2.AudioChunk(audio=pcm(samples)))


server = grpc.server(ThreadPoolExecutor(4))
tts_pb2_grpc.add_TextToSpeechServicer_to_server(TextToSpeech(), server)
checks = health.HealthServicer()
checks.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(checks, server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
