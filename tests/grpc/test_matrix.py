"""What a client saw is what is counted: every kind of server and method, every way an RPC can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from opentelemetry.trace import SpanKind

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.matrix import ENDINGS, STACKS, Cell, outcome, possible, tellable
from tests.grpc.servers import KINDS, wait_for

CELLS = [(s, k, e) for s in STACKS for k in KINDS for e in ENDINGS if possible(s, k, e)]


@pytest.mark.parametrize(("stack", "kind", "ending"), CELLS)
def test_what_a_client_saw_is_what_is_counted(
    stack: str, kind: str, ending: str, capture_tts: Capture, record_property: Callable[[str, object], None]
) -> None:
    """One span and one point with the client's status for each RPC that arrived, and one request with its outcome if one began."""
    telemetry = capture_tts.telemetry(clock=SystemClock())
    cell = Cell(telemetry, stack, kind, ending)
    with cell.run():
        wait_for(lambda: len([s for s in capture_tts.spans if s.kind is SpanKind.SERVER]) >= len(cell.seen))
    seen = Counter(seen.code for seen in cell.seen)
    counted: Counter[str] = Counter()
    for attributes, count in capture_tts.metrics().get("rpc.server.call.duration", []):
        assert attributes["rpc.method"] == "test.Speech/Speak"
        counted[attributes["rpc.response.status_code"]] += int(count)
    assert cell.arrivals.count == len(cell.seen)
    if not tellable(stack, ending):  # it is counted all the same, as one that its caller left
        assert seen == {"RESOURCE_EXHAUSTED": 1}
        seen = Counter({"CANCELLED": 1})
    assert counted == seen
    record_property("hostile inputs: RPCs", seen.total())
    spans = Counter((s.attributes or {})["rpc.response.status_code"] for s in capture_tts.spans if s.kind is SpanKind.SERVER)
    assert spans == seen
    outcomes = Counter(s.outcome for s in capture_tts.syntheses())
    expected = outcome(stack, kind, ending)
    if expected is not None:
        assert outcomes == {expected: 1}
    assert capture_tts.total("tts.synthesis.active") == 0
    assert capture_tts.total("tts.synthesis.requests") == outcomes.total()
