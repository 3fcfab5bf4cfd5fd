"""One owner at a time for the facts of an RPC: gRPC's thread, the handler's, and the one that ends the process."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.context import attach, detach

from otel_tts import PCM16, Telemetry
from otel_tts.core.audio import AudioMeter
from otel_tts.core.clock import RequestClock
from otel_tts.core.underway import UNDER_WAY
from otel_tts.grpc.internals import Internals
from otel_tts.grpc.rpc import Rpc
from otel_tts.testing.capture import Capture

LONG_S = 20
SECOND = b"\x00\x40\x00\xc0" * 8000


def begun(tts: Telemetry, capture: Capture) -> Rpc:
    """An RPC whose handler has started."""
    rpc = Rpc(tts.emitter, "my.Speech/Speak", (), RequestClock(capture.clock), Internals())
    rpc.begin()
    return rpc


def test_an_rpc_that_is_over_in_the_middle_of_a_chunk(capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRPC's thread ends the RPC while its handler's thread feeds audio: it does not wait, and no fact of the chunk is lost."""
    inside, on = threading.Event(), threading.Event()
    feed = AudioMeter.feed

    def slow(meter: AudioMeter, data: Any) -> float:
        inside.set()
        assert on.wait(LONG_S)
        return feed(meter, data)

    monkeypatch.setattr(AudioMeter, "feed", slow)
    tts = capture_tts.telemetry()
    rpc = begun(tts, capture_tts)

    def handle() -> None:
        token = attach(rpc.context)
        list(tts.synthesis("hello", stream=True).stream(iter([SECOND]), "piper", audio=PCM16(16_000)))
        detach(token)

    handler = threading.Thread(target=handle, daemon=True)
    handler.start()
    assert inside.wait(LONG_S)
    grpcs_own = threading.Thread(target=lambda: rpc.finish(True, "OK"), daemon=True)
    grpcs_own.start()
    grpcs_own.join(LONG_S)
    assert not grpcs_own.is_alive(), "gRPC's thread never waits"
    assert not capture_tts.spans, "nobody ends what another thread is at"
    on.set()
    handler.join(LONG_S)
    assert capture_tts.synthesis()["tts.stream.chunk.count"] == 1
    assert [span.name for span in capture_tts.spans].count("my.Speech/Speak") == 1
    assert capture_tts.total("rpc.server.call.duration", {"rpc.response.status_code": "OK"}) == 1


def test_a_stop_lets_an_rpc_end_by_itself(capture_tts: Capture) -> None:
    """Its status is known but was not sent yet: the status that its caller got is the one that gRPC says a moment later."""
    rpc = begun(capture_tts.telemetry(), capture_tts)
    rpc.answer("OK")
    later = threading.Timer(0.05, lambda: rpc.finish(False))
    later.start()
    UNDER_WAY.stop(LONG_S)
    later.join(LONG_S)
    assert capture_tts.total("rpc.server.call.duration", {"rpc.response.status_code": "CANCELLED"}) == 1
    assert capture_tts.total("rpc.server.call.duration") == 1


def test_a_handler_that_starts_after_its_rpc_is_over(capture_tts: Capture) -> None:
    """Its caller left while it waited for a thread: it runs in the trace of the RPC, and what it starts is a request of its own."""
    tts = capture_tts.telemetry()
    rpc = Rpc(tts.emitter, "my.Speech/Speak", (), RequestClock(capture_tts.clock), Internals())
    rpc.finish(False)
    token = attach(rpc.begin())
    with tts.synthesis("hello"):
        pass
    detach(token)
    spans = {span.name: span for span in capture_tts.spans}
    assert capture_tts.total("tts.synthesis.requests") == 1
    assert spans["tts.synthesize"].context.trace_id == spans["my.Speech/Speak"].context.trace_id
    assert spans["tts.synthesize"].parent.span_id == spans["my.Speech/Speak"].context.span_id
