"""A service under load, as a program: it says what it did, a line of JSON for each request, until it is told to stop.

Its argument: requests a second. What it prints is the account that the stores must hold.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import otel_tts
from otel_tts import PCM16


def main(rate: float) -> None:
    """Synthesize until SIGTERM; then send all there is."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    pipeline = otel_tts.configure(handle_sigterm=False)
    telemetry = otel_tts.Telemetry(voices=["tone"], languages=["en-US"])
    due = time.monotonic()
    number = 0
    while not stopped.is_set():
        number += 1
        with telemetry.synthesis(text=f"Number {number}.", voice="tone", language="en-US") as synthesis:
            trace_id = synthesis.trace_id
            with synthesis.attempt("engine", "v1") as attempt:
                attempt.audio(bytes(4800), PCM16(24_000))
        print(json.dumps({"trace_id": trace_id}), flush=True)
        due += 1 / rate
        stopped.wait(max(0.0, due - time.monotonic()))
    pipeline.shutdown(60)


if __name__ == "__main__":
    main(float(sys.argv[1]))
