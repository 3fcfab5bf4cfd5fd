# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201
"""A speech service with a proto of its own that knows nothing of telemetry. The directory of the proto is its argument."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import hibari
import numpy as np

sys.path.append(sys.argv[1])
protos, services = grpc.protos_and_services("speech.proto")
engine = hibari.Hibari(threads=1)


class Speech(services.SpeechServicer):
    def Say(self, request, context):
        if not request.text:
            return protos.Sound(ok=False, error="There is nothing to say.")
        return protos.Sound(ok=True, audio=(np.clip(engine(request.text), -1, 1) * 32767).astype("<i2").tobytes())


server = grpc.server(ThreadPoolExecutor(4))
services.add_SpeechServicer_to_server(Speech(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
