"""Back-pressure: streams whose client does not read, or goes away while a response is being sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    ENDINGS,
    STACKS,
    aio_server,
    connect,
    speech,
    wait_for,
    wait_for_standstill,
)
from tests.grpc.ways import ask, ends, the_rpc

BIG = bytes(8_000_000)
"""More than fits into what gRPC buffers for a client that does not read."""


@pytest.mark.parametrize("stack", STACKS)
def test_a_stream_blocked_in_a_send_ends_when_its_client_cancels(
    stack: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler whose client does not read is stuck in a send, where no cancellation arrives: the span ends all the same."""
    closed = threading.Event()

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        try:
            while True:
                yield BIG
        finally:
            closed.set()

    async def astream(request: bytes, context: Any) -> Any:
        try:
            while True:
                yield BIG
        finally:
            closed.set()

    behavior = astream if stack == "aio" else stream
    with STACKS[stack](capture_tts.telemetry(clock=SystemClock()), speech(unary_stream=behavior)) as port:
        with connect(port) as channel:
            rpc = channel.unary_stream("/test.Speech/unary_stream")(b"a")
            rpc.initial_metadata()  # comes with the first response, so that one is on its way
            assert not capture_tts.spans
            rpc.cancel()
            span = wait_for(lambda: capture_tts.spans, 1.0)[0]
        assert closed.wait(1.0), "the handler's generator was not closed"
    assert (span.kind, span.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert dict(span.attributes)["rpc.response.status_code"] == "CANCELLED"
    assert len(capture_tts.spans) == 1
    assert ends(capture_tts) == {"CANCELLED": 1}
    assert "Failed to detach context" not in caplog.text


@pytest.mark.parametrize("ending", ["ok", "abort", "set_code", "exception", "cancel", "blocked"])
def test_an_asynchronous_handler_may_read_and_write_by_itself(
    ending: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """A coroutine that answers with ``context.write`` ends as it should, also when its client goes away during a write."""
    entered = threading.Event()
    written: list[int] = []

    async def handler(request: bytes, context: Any) -> None:
        await context.write(b".")
        entered.set()
        if ending == "abort":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        elif ending == "set_code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
        elif ending == "exception":
            raise ValueError("no")
        elif ending == "cancel":
            await asyncio.sleep(30)
        while ending == "blocked":  # until grpc raises an error of its own
            written.append(1)
            await context.write(bytes(1_000_000))

    expected = ENDINGS["cancel" if ending == "blocked" else ending]
    with (
        aio_server(capture_tts.telemetry(clock=SystemClock()), speech(unary_stream=handler)) as port,
        connect(port) as channel,
    ):
        rpc = channel.unary_stream("/test.Speech/unary_stream")(b"a")
        assert next(rpc) == b"."
        if ending in ("cancel", "blocked"):
            assert entered.wait(5)
            if ending == "blocked":
                wait_for_standstill(lambda: len(written))
            rpc.cancel()
        with suppress(grpc.RpcError):
            list(rpc)
        span = the_rpc(capture_tts)
    seen = (span.status.status_code, dict(span.attributes or {})["rpc.response.status_code"], len(span.events))
    assert seen == (expected[0], expected[1], expected[3])
    assert ends(capture_tts) == {expected[1]: 1}
    assert "Failed to detach context" not in caplog.text


def test_a_response_that_cannot_be_sent_is_no_cancellation(capture_tts: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """When grpc itself answers for a suspended handler, because a response is of the wrong type, the RPC failed: nobody left."""

    async def stream(request: bytes, context: Any) -> Any:
        yield b"."
        yield 1

    with aio_server(capture_tts.telemetry(), speech(unary_stream=stream)) as port:
        answer = ask(port, "unary_stream")
        span = the_rpc(capture_tts)
    assert answer.code is grpc.StatusCode.UNKNOWN
    assert (span.status.status_code, dict(span.attributes or {})["error.type"]) == (StatusCode.ERROR, "UNKNOWN")
