"""With contrib's server instrumentation further out than ours: one SERVER span an RPC all the same, which says what is true."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorServer, GrpcInstrumentorServer
from opentelemetry.trace import SpanKind

from otel_tts import PCM16
from otel_tts.core.clock import SystemClock
from otel_tts.grpc import TRACE_RESPONSE
from otel_tts.testing.capture import Capture
from tests.grpc.servers import ENDINGS, HANDLERS, STACKS, call, connect, speech, wait_for


@contextmanager
def instrumented(stack: str) -> Iterator[None]:
    """Servers made in this block have contrib's interceptor, which puts itself first."""
    instrumentors: dict[str, Any] = {"sync": GrpcInstrumentorServer, "aio": GrpcAioInstrumentorServer}
    instrumentor = instrumentors[stack]()
    instrumentor.instrument()
    try:
        yield
    finally:
        instrumentor.uninstrument()


def exceptions(stack: str, ending: str) -> int:
    """How many exception events contrib puts on its span, to which we add none.

    Two where an exception leaves the handler, one for a synchronous ``abort`` and two for an asynchronous, although that is none.
    """
    return {"exception": 2, "abort": 2 if stack == "aio" else 1}.get(ending, 0)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("stack", STACKS)
def test_contribs_span_is_put_right(
    stack: str, kind: str, ending: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Every ending gives one SERVER span with our name, attributes and status, and one point.

    What contrib adds stays: ``rpc.system``, ``rpc.service``, ``net.peer.*``, ``rpc.user_agent``, and ``rpc.grpc.status_code``,
    which it leaves at 0 after an exception, a cancellation and a deadline. It ends its span of a synchronous unary RPC when the
    handler returns, however long ago the caller left.
    """
    caplog.set_level(logging.ERROR, "opentelemetry.context")
    handlers = HANDLERS[stack](ending)
    status, code, error_type, _ = ENDINGS[ending]
    with instrumented(stack), STACKS[stack](capture_tts.telemetry(clock=SystemClock()), handlers.service) as port:
        try:
            seen, trailing = call(port, kind, handlers)
            wait_for(lambda: capture_tts.points("rpc.server.call.duration"), 1.0)
        finally:
            handlers.release.set()
        wait_for(lambda: capture_tts.spans)
    (span,) = capture_tts.spans
    expected = {"rpc.system.name": "grpc", "rpc.method": f"test.Speech/{kind}", "rpc.response.status_code": code}
    expected |= {"error.type": error_type} if error_type else {}
    assert (seen.name, span.kind, span.name) == (code, SpanKind.SERVER, f"test.Speech/{kind}")
    attributes = dict(span.attributes or {})
    assert {key: attributes.get(key) for key in (*expected, "error.type")} == {"error.type": None} | expected
    assert span.status.status_code is status
    assert [event.name for event in span.events] == ["exception"] * exceptions(stack, ending)
    assert capture_tts.metrics() == {"rpc.server.call.duration": [(expected, 1)]}
    assert "Failed to detach context" not in caplog.text
    if ending not in ("cancel", "deadline"):
        assert span.context is not None
        assert trailing[TRACE_RESPONSE] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


@pytest.mark.parametrize("stack", STACKS)
def test_a_synthesis_is_a_child_of_contribs_span(stack: str, capture_tts: Capture) -> None:
    """There is one tree, and the RPC decides the outcome."""
    telemetry = capture_tts.telemetry()

    def unary(request: bytes, context: Any) -> bytes:
        with telemetry.synthesis(text="hello") as synthesis, synthesis.attempt("piper") as attempt:
            attempt.audio(b"\x00\x10" * 8000, PCM16(8000))
        context.set_code(grpc.StatusCode.INTERNAL)
        return b"."

    async def aunary(request: bytes, context: Any) -> bytes:
        return unary(request, context)

    handlers = speech(unary_unary=aunary if stack == "aio" else unary)
    with (
        instrumented(stack),
        STACKS[stack](telemetry, handlers) as port,
        connect(port) as channel,
        pytest.raises(grpc.RpcError),
    ):
        channel.unary_unary("/test.Speech/unary_unary")(b"a")
    wait_for(lambda: len(capture_tts.spans) == 3)
    ((name, _, ((synthesize, _, ((attempt, _, _),)),)),) = capture_tts.tree()
    assert (name, synthesize, attempt) == ("test.Speech/unary_unary", "tts.synthesize", "text_to_speech")
    assert capture_tts.synthesis().outcome == "error"
