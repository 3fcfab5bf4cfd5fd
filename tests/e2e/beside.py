"""What dashboards show beside the service's telemetry: a quality model's ``verdicts``, the batch job's ``drift``, ``conversations``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

import otel_tts
from otel_tts.report.drift import Finding, Judgement
from otel_tts.report.feedback import Feedback
from otel_tts.report.sample import FACTS, Facts, Sample
from tests.e2e.stack import ROOT


def verdicts() -> None:
    """A quality model judges utterances of a voice, in two exports: a rate has two ends."""
    pipeline = otel_tts.configure()
    tts = otel_tts.Telemetry()
    for verdict in (3.5, 4.5):
        with tts.synthesis(text="hello", voice="joe") as synthesis:
            synthesis.score("mos", verdict)
        assert pipeline.flush(30)


def conversations() -> None:
    """A voice agent: interruptions, connections of which some fail, work ahead, and text in pieces, in two exports."""
    pipeline = otel_tts.configure()
    tts = otel_tts.Telemetry(prices={"espeak": 4.0})
    piece = b"\1\2" * 8000  # half a second: a rate of speech that lies within the buckets, as that of the service's own traffic
    for _ in range(2):
        for _ in range(12):
            with tts.connection("espeak"):
                pass
        with suppress(ConnectionRefusedError), tts.connection("espeak"):
            raise ConnectionRefusedError
        for kind in 12 * ("interactive", "prefetch", "batch"):
            with (
                tts.synthesis("Hello, how are you?", stream=True, kind=kind) as synthesis,
                synthesis.attempt("espeak") as attempt,
            ):
                attempt.connection(reused=kind != "interactive")
                for number, _ in enumerate(attempt.stream([piece] * 3, otel_tts.PCM16(16000))):
                    if not number and kind == "interactive":
                        synthesis.interrupt(heard=0.0)
        for _ in range(120):  # enough for a p99
            with tts.synthesis(stream=True) as synthesis, synthesis.attempt("espeak") as attempt:
                engine = (piece for _ in synthesis.text_from(["How ", "are you?"]))
                for _ in attempt.stream(engine, otel_tts.PCM16(16000)):
                    pass
        assert pipeline.flush(30)


def request(**facts: object) -> Facts:
    """The facts of a request that the batch job has read."""
    return tuple(facts.get(fact) for fact in FACTS)


def drift() -> None:
    """A run of the batch job, which ends with it."""
    pipeline = otel_tts.configure()
    usual = {"outcome": "ok", "provider": "espeak", "cache_result": "miss", "duration": 1.0, "ttfa": 0.5}
    rows = {str(stream): request(**usual, stream=stream) for stream in (False, True)}
    slower = Finding("latency", "performance", "espeak", "", "s", "drifted", 100, 100, current=2.0, reference=1.0, score=2.5)
    Feedback().tell(Judgement("last week", (slower,)), Sample(rows=rows))
    assert pipeline.flush(30)


def beside(what: str, environ: Mapping[str, str], service: str) -> subprocess.Popen[bytes]:
    """Start one of them as a process of its own, under this service's name, with these variables besides."""
    variables = {**os.environ, **environ, "OTEL_SERVICE_NAME": service}
    return subprocess.Popen([sys.executable, "-m", "tests.e2e.beside", what], cwd=ROOT, env=variables)


if __name__ == "__main__":
    {"verdicts": verdicts, "drift": drift, "conversations": conversations}[sys.argv[1]]()
