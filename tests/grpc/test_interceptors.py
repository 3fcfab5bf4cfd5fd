"""The interceptors, against real servers and a real client."""

from __future__ import annotations

import time

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from otel_tts.core.clock import SystemClock
from otel_tts.grpc import TRACE_RESPONSE
from otel_tts.testing.capture import Capture
from tests.grpc.servers import ENDINGS, HANDLERS, KINDS, STACKS, call, wait_for


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack", STACKS)
def test_every_rpc_has_one_true_span_and_one_point(
    stack: str, kind: str, ending: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Of every kind of RPC and every way it can end there is one SERVER span and one point, true and in time."""
    handlers = HANDLERS[stack](ending)
    telemetry = capture_tts.telemetry(clock=SystemClock())
    status, code, error_type, exceptions = ENDINGS[ending]
    with STACKS[stack](telemetry, handlers.service) as port:
        seen, trailing = call(port, kind, handlers)
        ended = time.monotonic()
        try:
            span: ReadableSpan = wait_for(lambda: capture_tts.spans)[0]
            late = time.monotonic() - ended
            # The synchronous handlers are still at it here: the span ended with the RPC, not with them.
            assert late < 1.0
        finally:
            handlers.release.set()
    assert seen.name == code
    assert [s.kind for s in capture_tts.spans] == [SpanKind.SERVER]
    assert span.name == f"test.Speech/{kind}"
    expected = {"rpc.system.name": "grpc", "rpc.method": f"test.Speech/{kind}", "rpc.response.status_code": code}
    expected |= {"error.type": error_type} if error_type else {}
    assert dict(span.attributes or {}) == expected
    assert span.status.status_code is status
    assert [event.name for event in span.events] == ["exception"] * exceptions
    points = capture_tts.points("rpc.server.call.duration")
    assert [(dict(p.attributes or {}), p.count) for p in points] == [(expected, 1)]  # type: ignore[union-attr]
    assert "Failed to detach context" not in caplog.text
    if ending not in ("cancel", "deadline"):  # then the client answers itself
        assert trailing[TRACE_RESPONSE] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
