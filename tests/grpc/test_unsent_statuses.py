"""A handler that goes on after grpc itself has ended its RPC: its status reaches nobody, so that of grpc counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import aio_server, connect, kind_of, speech, wait_for

LIMIT = 1000
"""Bytes that a request may have."""
CODE = grpc.StatusCode.INVALID_ARGUMENT


class Status:
    """What ``abort_with_status`` takes."""

    code, details, trailing_metadata = CODE, "no text", ()


async def react(way: str, context: Any) -> bytes:
    """What a handler does that got no text."""
    if way == "raises":
        raise ValueError("no text")
    if way == "aborts":
        await context.abort(CODE, "no text")
    if way == "aborts with a status":
        await context.abort_with_status(Status)
    if way == "sets a code":
        context.set_code(CODE)
    return b"."


class Handlers:
    """Handlers of streams of requests, which read to the end, whatever that is, and then do something."""

    def __init__(self, way: str) -> None:
        self.way = way

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        try:
            async for _ in requests:
                pass
        except asyncio.CancelledError:
            pass

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        await self._read(requests)
        return await react(self.way, context)

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await self._read(requests)
        response = await react(self.way, context)
        if self.way != "sets a code":
            yield response

    async def stream_stream_by_hand(self, _: Any, context: Any) -> None:
        try:
            while await context.read() is not grpc.aio.EOF:
                pass
        except (asyncio.CancelledError, grpc.aio.BaseError):
            pass
        response = await react(self.way, context)
        if self.way != "sets a code":
            await context.write(response)


WAYS = ("raises", "aborts", "aborts with a status", "sets a code", "returns")
METHODS = ("stream_unary", "stream_stream", "stream_stream_by_hand")


@pytest.mark.parametrize(("end", "code"), [("too large", "RESOURCE_EXHAUSTED"), ("deadline", "DEADLINE_EXCEEDED")])
@pytest.mark.parametrize("method", METHODS)
def test_the_status_that_the_caller_got_counts(method: str, end: str, code: str, capture_tts: Capture) -> None:
    """A request is too large, or the deadline passes while requests are awaited; then each handler ends in its own way."""
    release = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"text"
        if end == "too large":
            yield bytes(LIMIT + 1)
        release.wait(20)

    kind = kind_of(method)
    service = speech(**{f"{kind}_{number}": getattr(Handlers(way), method) for number, way in enumerate(WAYS)})
    options = [("grpc.max_receive_message_length", LIMIT)]
    with aio_server(capture_tts.telemetry(clock=SystemClock()), service, options=options) as port, connect(port) as channel:
        grpc.channel_ready_future(channel).result(30)
        calls = []
        for number in range(len(WAYS)):
            stub = getattr(channel, kind)(f"/test.Speech/{kind}_{number}")
            start = stub.future if kind == "stream_unary" else stub
            calls.append(start(requests(), timeout=0.5 if end == "deadline" else 20))
        wait_for(lambda: all(call.done() for call in calls))
        release.set()
        assert [call.code().name for call in calls] == [code] * len(WAYS)
        wait_for(lambda: capture_tts.total("rpc.server.call.duration") == len(WAYS))
    counted = {attributes["rpc.response.status_code"] for attributes, _ in capture_tts.metrics()["rpc.server.call.duration"]}
    assert counted == {code}
