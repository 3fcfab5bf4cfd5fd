"""A release of grpc that keeps its private state elsewhere: every RPC is counted all the same."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from otel_tts.core.clock import SystemClock
from otel_tts.core.deferred import run_deferred
from otel_tts.grpc import aio_server, sync_server
from otel_tts.grpc.internals import Internals
from otel_tts.testing.capture import Capture
from tests.grpc.matrix import BY_HANDLER, STACKS, Cell, possible
from tests.grpc.servers import KINDS, wait_for

SAME = ("ok", "raise", "set_code")
CELLS = [
    (s, k, e) for s in STACKS for k in ("unary_unary", "stream_stream") for e in (*SAME, "cancel_before") if possible(s, k, e)
]


@pytest.fixture(autouse=True)
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_server, "of_sync_rpc", Internals)
    monkeypatch.setattr(aio_server, "of_aio_rpc", Internals)


def ended(capture: Capture) -> int:
    """How many RPCs have ended, of those that nobody has any more."""
    gc.collect()
    run_deferred()
    return len([s for s in capture.spans if s.kind is SpanKind.SERVER])


@pytest.mark.parametrize(("stack", "kind", "ending"), CELLS)
def test_every_rpc_is_counted(stack: str, kind: str, ending: str, capture_tts: Capture) -> None:
    """Grpc does not say when an RPC is over: it is counted when nobody has it any more, also one whose handler never began."""
    cell = Cell(capture_tts.telemetry(clock=SystemClock()), stack, kind, ending)
    with cell.run():
        pass
    wait_for(lambda: ended(capture_tts) >= cell.arrivals.count)
    assert ended(capture_tts) == cell.arrivals.count == 1
    counted: Counter[str] = Counter()
    for attributes, count in capture_tts.metrics()["rpc.server.call.duration"]:
        counted[attributes["rpc.response.status_code"]] += int(count)
    assert counted.total() == 1
    if ending in SAME:
        assert counted == {cell.seen[0].code: 1}
        assert Counter(s.outcome for s in capture_tts.syntheses()) == {BY_HANDLER[ending]: 1}
    assert capture_tts.total("tts.synthesis.active") == 0


@pytest.mark.parametrize("ending", ["ok", "set_code"])
@pytest.mark.parametrize(("stack", "kind"), [(s, k) for s in STACKS for k in KINDS if possible(s, k, "ok")])
def test_a_request_that_is_finalised_before_its_rpc(
    stack: str, kind: str, ending: str, capture_tts: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector takes the objects of one generation after those of another: whichever comes first, the RPC decides."""
    telemetry = capture_tts.telemetry(clock=SystemClock())
    begin = telemetry.synthesis

    def begin_later(*args: Any, **kwargs: Any) -> Any:
        gc.collect(0)  # the RPC survives it, and the request is younger
        return begin(*args, **kwargs)

    monkeypatch.setattr(telemetry, "synthesis", begin_later)
    cell = Cell(telemetry, stack, kind, ending)
    gc.disable()
    try:
        with cell.run():
            pass
        wait_for(lambda: ended(capture_tts))
    finally:
        gc.enable()
    assert [s.outcome for s in capture_tts.syntheses()] == [BY_HANDLER[ending]]
