"""Requests in a finaliser that runs at the end of the interpreter, when nothing can be imported any more."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import base64, builtins, io, os, sys, wave
import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_tts import PCM16, ALaw, Encoded, MuLaw, PCMFloat32, Telemetry, Wav

spans, tracers = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(SimpleSpanProcessor(spans))
meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
tts = Telemetry(meter_provider=meters, tracer_provider=tracers, prices={"p": 1.0})

def wav(width):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, width, 8000, 0, "NONE", ""))
        writer.writeframes(bytes(range(240)) * 100)
    return file.getvalue()

BYTES = bytes(range(240)) * 100
SPEECH = [
    *((BYTES, kind(8000, channels)) for kind in (PCM16, MuLaw, ALaw) for channels in (1, 2)),
    (BYTES * 20, PCM16(8000)), (bytearray(BYTES), PCM16(8000)), (base64.b64encode(BYTES).decode(), PCM16(8000)),
    *((np.full(8000, level, dtype), PCMFloat32(8000)) for level in (0.3, 2.0, float("nan")) for dtype in ("f4", "f8")),
    (np.ones((2, 4000), np.int16), PCM16(8000, 2)), ([0.1] * 4000, PCMFloat32(8000)), ([[1, 2]] * 4000, PCM16(8000, 2)),
    *((wav(width), Wav()) for width in (1, 2, 3, 4)), (b"RIFFxxxx", Wav()), (b"ID3\\4" + bytes(500), Encoded("mp3")),
]

def speak(audio, format):
    with tts.synthesis("Hello.", stream=True) as s:
        for _ in s.stream([audio, audio], "p", audio=format):
            pass
    with tts.synthesis("Hello.") as s:
        with s.lookup("memory") as lookup:
            lookup.found(None)
        with s.attempt("p") as attempt:
            attempt.audio(audio, format)
        with s.cache_write("memory"):
            pass
    with tts.synthesis("Hello.", stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found(audio, "p", audio=format)
        s.deliver(audio, format)
        s.interrupt(heard=0.001)
    left = tts.synthesis("Hello.", stream=True)
    next(left.stream([audio, audio], "p", audio=format))
    del left
    try:
        with tts.synthesis("Hello.") as s, s.attempt("p"):
            raise ConnectionError
    except ConnectionError:
        pass
    with tts.probe("p") as attempt:
        attempt.audio(audio, format)
    with tts.connection("p"):
        pass

class Last:
    def __init__(self):
        self.names, self.write = globals().copy(), os.write  # globals are gone by then

    def __del__(self):
        globals().update(self.names)
        for audio, format in SPEECH:
            speak(audio, format)
        kept = [(s.name, sorted((k, v) for k, v in s.attributes.items() if k.startswith("tts.audio."))) for s in spans.get_finished_spans()]
        self.write(1, repr(kept).encode())

last = Last()
if sys.argv[1] == "end":
    builtins.kept = last  # which goes when all else has gone
del last, Last
"""


def spoken(when: str) -> tuple[str, str]:
    """What the program has recorded, and what it has printed beside that."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, when], env=dict(os.environ), capture_output=True, text=True, check=True, timeout=120
    )
    return ended.stdout, ended.stderr


def test_a_request_at_the_end_of_the_interpreter_is_measured_as_any_other() -> None:
    """Audio of every kind has the facts that it has before the end, and nothing of ours is printed."""
    recorded, printed = spoken("end")
    assert printed == ""
    assert recorded.count("tts.audio.loudness") > 20
    assert recorded == spoken("before")[0]
