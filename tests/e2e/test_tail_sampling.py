"""The tail-sampling overlay keeps the traces worth keeping, and metrics know nothing of it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.speech import Calls, speaking
from tests.e2e.stack import running, until
from tests.ports import free_port

SLOW = 0.15
LONG = " ".join(f"This is sentence number {number} of very many." for number in range(100))


def test_what_is_kept(tmp_path: Path) -> None:
    """All failed, slow and fallback traces are kept, of the rest the share, here none; and every request is counted."""
    sampling = {"SAMPLING_DECISION_WAIT": "2s", "SAMPLING_SLOW_MS": f"{SLOW * 1000:g}", "SAMPLING_PERCENT": "0"}
    nobody = {
        "TTS_PROVIDERS": "openai,espeak",
        "TTS_OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}",
        "TTS_CIRCUIT_FAILURES": "99",
    }
    failed, fallen_back, slow, fine = Calls(), Calls(), Calls(), Calls()
    with running(tmp_path, "tail-sampling", **sampling) as stack, speaking(tmp_path, stack.service_environ, **nobody) as speech:
        for number in range(10):
            speech.say(calls=failed, provider="openai")
            speech.say(calls=fallen_back)
            speech.say(calls=slow, provider="espeak", text=f"{number} {LONG}")
            speech.say(calls=fine, provider="espeak")
        total = len(failed) + len(fallen_back) + len(slow) + len(fine)
        until(lambda: stack.value("tts_synthesis_requests_total") == total, "all requests counted")

        assert set(failed.traces.values()) == {"UNAVAILABLE"}
        assert min(slow.seconds) > SLOW, "the long text is not long enough for this machine"
        for trace_id in (*failed.traces, *fallen_back.traces, *slow.traces):
            until(lambda trace_id=trace_id: len(stack.spans(trace_id)) >= 3, f"trace {trace_id}")
        quick = [trace_id for trace_id, took in zip(fine.traces, fine.seconds, strict=True) if took < SLOW]
        assert quick
        assert not any(stack.spans(trace_id) for trace_id in quick)
