"""The interceptors, against real servers and a real client."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts import PCM16, Telemetry
from otel_tts.capture import Capture
from otel_tts.clock import SystemClock
from otel_tts.grpc import TRACE_RESPONSE, aio_server_interceptor, server_interceptor

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
# How an RPC ends -> span status, status code, error.type, exception events.
ENDINGS = {
    "ok": (StatusCode.UNSET, "OK", None, 0),
    "abort": (StatusCode.UNSET, "INVALID_ARGUMENT", None, 0),
    "set_code": (StatusCode.UNSET, "NOT_FOUND", None, 0),
    "exception": (StatusCode.ERROR, "UNKNOWN", "UNKNOWN", 1),
    "cancel": (StatusCode.UNSET, "CANCELLED", None, 0),
    "deadline": (StatusCode.ERROR, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 0),
}
METHOD = "test.Speech/Speak"


class SyncHandlers:
    """Handlers of every kind for a synchronous server, that end as they are told."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.entered = threading.Event()
        self.release = threading.Event()

    def end(self, context: Any) -> None:
        self.entered.set()
        if self.ending == "abort":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        elif self.ending == "set_code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
        elif self.ending == "exception":
            raise ValueError("no")
        elif self.ending != "ok":
            self.release.wait(30)

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        self.end(context)
        return b"."

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        list(requests)
        self.end(context)
        return b"."

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"."
        self.end(context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield request
        self.end(context)


class AioHandlers(SyncHandlers):
    """The same for an asynchronous server."""

    async def aend(self, context: Any) -> None:
        self.entered.set()
        if self.ending == "abort":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        elif self.ending == "set_code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
        elif self.ending == "exception":
            raise ValueError("no")
        elif self.ending != "ok":
            await asyncio.sleep(30)

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        await self.aend(context)
        return b"."

    async def stream_unary(self, requests: Any, context: Any) -> bytes:
        async for _ in requests:
            pass
        await self.aend(context)
        return b"."

    async def unary_stream(self, request: bytes, context: Any) -> Any:
        yield b"."
        await self.aend(context)

    async def stream_stream(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request
        await self.aend(context)


def generic(handlers: Any) -> grpc.GenericRpcHandler:
    """The handlers as methods `Speak`, one server a kind being wasteful: the method's name tells the kind."""
    return grpc.method_handlers_generic_handler(
        "test.Speech", {kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(handlers, kind)) for kind in KINDS}
    )


@contextmanager
def sync_server(telemetry: Telemetry, handler: grpc.GenericRpcHandler) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler], interceptors=[server_interceptor(telemetry)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@contextmanager
def aio_server(telemetry: Telemetry, handler: grpc.GenericRpcHandler) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(ThreadPoolExecutor(4), handlers=[handler], interceptors=[aio_server_interceptor(telemetry)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


SERVERS: dict[str, tuple[Any, type[SyncHandlers]]] = {"sync": (sync_server, SyncHandlers), "aio": (aio_server, AioHandlers)}


def wait_for(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first true result of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.002)
    raise AssertionError("the condition did not come true")


def call(port: int, kind: str, handlers: SyncHandlers, *, timeout: float | None = None, method: str | None = None) -> Any:
    """Make one RPC, cancel it where that is its ending, and give what its client saw: a code, and the trailing metadata."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = getattr(channel, kind)(f"/test.Speech/{method or kind}")
        request: Any = iter([b"a", b"b"]) if kind.startswith("stream") else b"a"
        rpc = stub(request, timeout=timeout) if kind.endswith("stream") else stub.future(request, timeout=timeout)
        if handlers.ending == "cancel":
            if kind.endswith("stream"):
                next(rpc)
            assert handlers.entered.wait(5)
            rpc.cancel()
        try:
            if kind.endswith("stream"):
                list(rpc)
            else:
                rpc.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        return rpc.code(), dict(rpc.trailing_metadata() or ())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack", SERVERS)
def test_every_rpc_has_one_true_span_and_one_point(
    stack: str, kind: str, ending: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Of every kind of RPC and every way it can end there is one SERVER span and one point, true and in time."""
    serve, handlers_class = SERVERS[stack]
    handlers = handlers_class(ending)
    telemetry = capture_tts.telemetry(clock=SystemClock())
    status, code, error_type, exceptions = ENDINGS[ending]
    with serve(telemetry, generic(handlers)) as port:
        seen, trailing = call(port, kind, handlers, timeout=0.3 if ending == "deadline" else None)
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
