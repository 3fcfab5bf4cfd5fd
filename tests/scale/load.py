"""A service under load, as a program: it says what it did, a line of JSON for each request, until it is told to stop.

Its arguments: requests a second, and the share that fails. What it prints is the account that the stores must hold.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import suppress

import otel_tts
from otel_tts import PCM16


def main(rate: float, failing_share: float = 0.0) -> None:
    """Synthesize until SIGTERM; then send all there is."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    pipeline = otel_tts.configure(handle_sigterm=False)
    telemetry = otel_tts.Telemetry(voices=["tone"], languages=["en-US"])
    due = time.monotonic()
    number = failed = 0
    while not stopped.is_set():
        number += 1
        fails = failed < number * failing_share
        failed += fails
        with (
            suppress(ConnectionError),
            telemetry.synthesis(text=f"Number {number}.", voice="tone", language="en-US") as synthesis,
        ):
            trace_id = synthesis.trace_id
            with synthesis.attempt("engine", "v1") as attempt:
                if fails:
                    raise ConnectionError("There is no engine.")
                attempt.audio(bytes(4800), PCM16(24_000))
        print(json.dumps({"trace_id": trace_id, "ended": time.time()}), flush=True)
        due += 1 / rate
        stopped.wait(max(0.0, due - time.monotonic()))
    pipeline.shutdown(60)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
