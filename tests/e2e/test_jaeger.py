"""What a real Jaeger changes in what it is sent, it says."""

from __future__ import annotations

import json
import time
from urllib.request import Request as Post
from urllib.request import urlopen

from otel_tts import semconv
from otel_tts.history import RequestFilter, open_history
from otel_tts.settings import HistorySettings
from tests.e2e.stack import Stack, until

TRACES = {"good": "a" * 32, "backwards": "b" * 32}


def test_a_span_that_ends_before_it_begins(stack: Stack) -> None:
    """Jaeger gives it another end, and says so: the trace shows that, and its duration stands in no request."""
    now = time.time_ns()
    spans = [
        {
            "traceId": trace_id, "spanId": trace_id[:16], "name": semconv.SYNTHESIS_SPAN.name, "kind": 1,
            "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + (10**9 if name == "good" else -(10**9))),
        }
        for name, trace_id in TRACES.items()
    ]  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "clocks"}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()
    with urlopen(Post(f"{stack.otlp_http}/v1/traces", body, {"Content-Type": "application/json"}), timeout=10):
        pass
    history = open_history(HistorySettings.load({"OTEL_TTS_JAEGER_URL": stack.traces}))
    backwards = until(lambda: history.trace(TRACES["backwards"]), "the trace")
    assert [span.warnings for span in backwards.roots] != [()]
    good = until(lambda: history.trace(TRACES["good"]), "the other")
    assert [(span.warnings, span.duration) for span in good.roots] == [((), 1.0)]
    assert {request.trace_id for request in history.requests(RequestFilter(service="clocks"))} == {TRACES["good"]}
    assert history.unreadable == 1
