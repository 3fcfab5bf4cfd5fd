"""What otel-tts records of the agents of LiveKit and Pipecat, beside what a listener that knows nothing of telemetry recorded."""

from __future__ import annotations

import os

import pytest

from benchmarks.frameworks import PYTHONS, REPLIES, rows, run
from tests.instrumentation.test_pipecat import PYTHON

pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")
SLACK_S = 1.5
"""Between two observers of one process, on a machine that is busy; the pauses between the replies are longer than that in all."""
FRAME_S = 0.2
"""LiveKit's longest frame."""


@pytest.mark.parametrize("framework", PYTHONS)
def test_every_figure_is_what_the_listener_recorded(framework: str) -> None:
    """Of two whole replies and an interrupted one: times, seconds of audio, what was heard, the silence, and what was in vain."""
    if framework == "pipecat" and not PYTHON.exists() and os.environ.get("REQUIRE_TOOLS") != "1":
        pytest.skip("`make tools` installs Pipecat")
    result = run(framework)
    requests, listener = result["otel_tts"], result["listener"]
    assert [request["outcome"] for request in requests] == ["ok", "ok", "cancelled"]
    assert [request["cancel_reason"] for request in requests] == [None, None, "interrupted"]
    for request, record, text in zip(requests, listener, REPLIES, strict=True):
        assert abs(request["characters"] - len(text)) <= 3, "frameworks add and strip blanks between sentences"
        # An interruption may come between the framework's taking of a frame, which is handed out then, and its playing it.
        taken_s = FRAME_S if request["outcome"] == "cancelled" else 0.0
        assert -0.002 <= request["delivered"] - record["seconds"] <= taken_s + 0.002
        assert request["ttfb"] == pytest.approx(record["ttfb"], abs=SLACK_S)
        assert request["ttfb"] <= request["ttfa"]
        assert request["cost"] == pytest.approx(request["characters"] * 50e-6)
        if request["outcome"] == "ok":
            assert request["duration"] == pytest.approx(record["duration"], abs=SLACK_S)
            assert request["audio_duration"] == pytest.approx(record["seconds"], abs=0.03)
        else:
            assert request["silent"] == pytest.approx(record["silent"], abs=0.25)
            assert request["audio_duration"] >= request["delivered"] - 0.03
        if "heard" in record:
            assert request["heard"] == pytest.approx(record["heard"], abs=0.002)
    reported = str(result["framework"][-1]).lower()
    assert "interrupt" not in reported, "the framework has begun to mark interrupted speech: the guide's table says it does not"
    assert len(list(rows(result))) == len(REPLIES)
