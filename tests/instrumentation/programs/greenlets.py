# mypy: ignore-errors
# ruff: noqa: ANN201, D103, E402
"""A program whose threads become greenlets after telemetry has begun: it speaks, forks, and speaks in both processes."""

from gevent import monkey

monkey.patch_all()

import os
import time

import otel_tts
from otel_tts import PCM16

tts = otel_tts.Telemetry(voices=["heart"])
tts.observe_cache("memory", entries=lambda: 3)


def speak():
    with tts.synthesis(text="Hello.", voice="heart", language="en-US") as synthesis, synthesis.attempt("mine") as attempt:
        attempt.audio(bytes(4800), PCM16(24_000))


speak()
child = os.fork()
if child == 0:
    speak()
    time.sleep(0.01)  # other greenlets run
    speak()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
time.sleep(0.01)
speak()
