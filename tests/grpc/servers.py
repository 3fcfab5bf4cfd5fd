"""Real gRPC servers with our interceptor for the tests, each on a free port of this machine, and handlers that end as told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
import grpc.aio
from opentelemetry.trace import StatusCode

from otel_tts import Telemetry
from otel_tts.grpc import aio_server_interceptor, server_interceptor

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
LOCAL = "127.0.0.1:0"
# How an RPC ends -> span status, status code, error.type, exception events.
ENDINGS = {
    "ok": (StatusCode.UNSET, "OK", None, 0),
    "abort": (StatusCode.UNSET, "INVALID_ARGUMENT", None, 0),
    "set_code": (StatusCode.UNSET, "NOT_FOUND", None, 0),
    "exception": (StatusCode.ERROR, "UNKNOWN", "UNKNOWN", 1),
    "cancel": (StatusCode.UNSET, "CANCELLED", None, 0),
    "deadline": (StatusCode.ERROR, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 0),
}


class Serve(Protocol):
    """Starts a server, gives its port, and stops it."""

    def __call__(
        self,
        telemetry: Telemetry | None,
        *handlers: grpc.GenericRpcHandler,
        before: Sequence[Any] = (),
        after: Sequence[Any] = (),
        workers: int = 4,
        options: Sequence[tuple[str, Any]] = (),
        maximum_concurrent_rpcs: int | None = None,
        cell: Any = None,
        address: str = LOCAL,
        credentials: grpc.ServerCredentials | None = None,
    ) -> Any:
        """before, after: interceptors further out and further in than ours; ``telemetry=None`` leaves ours out.

        cell: an object whose ``stop`` becomes a function that stops the server, with the seconds of grace or None.
        """


def speech(**behaviors: Any) -> grpc.GenericRpcHandler:
    """The service ``test.Speech``. A method's name tells its kind, perhaps with something behind it: ``unary_stream_slow``."""
    return grpc.method_handlers_generic_handler(
        "test.Speech",
        {name: getattr(grpc, f"{kind_of(name)}_rpc_method_handler")(behavior) for name, behavior in behaviors.items()},
    )


def kind_of(method: str) -> str:
    """The kind of a method of :func:`speech`."""
    return next(kind for kind in KINDS if method.startswith(kind))


@contextmanager
def sync_server(
    telemetry: Telemetry | None,
    *handlers: grpc.GenericRpcHandler,
    before: Sequence[Any] = (),
    after: Sequence[Any] = (),
    workers: int = 4,
    options: Sequence[tuple[str, Any]] = (),
    maximum_concurrent_rpcs: int | None = None,
    cell: Any = None,
    address: str = LOCAL,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[int]:
    """A server of ``grpc``."""
    interceptors = [*before, *([server_interceptor(telemetry)] if telemetry else []), *after]
    pool = ThreadPoolExecutor(workers)
    server = grpc.server(
        pool,
        handlers=list(handlers),
        interceptors=interceptors,
        options=options,
        maximum_concurrent_rpcs=maximum_concurrent_rpcs,
    )
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    if cell is not None:
        cell.stop = lambda grace: server.stop(grace).wait(10)
    try:
        yield port
    finally:
        server.stop(0).wait(2)  # grpc never ends a server, with or without us, whose streamed request could not be decoded
        if cell is not None:
            pool.shutdown()


@contextmanager
def aio_server(
    telemetry: Telemetry | None,
    *handlers: grpc.GenericRpcHandler,
    before: Sequence[Any] = (),
    after: Sequence[Any] = (),
    workers: int = 4,
    options: Sequence[tuple[str, Any]] = (),
    maximum_concurrent_rpcs: int | None = None,
    cell: Any = None,
    address: str = LOCAL,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[int]:
    """A server of ``grpc.aio``, in a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    pool = ThreadPoolExecutor(workers)

    async def start() -> tuple[grpc.aio.Server, int]:
        interceptors = [*before, *([aio_server_interceptor(telemetry)] if telemetry else []), *after]
        server = grpc.aio.server(
            pool,
            handlers=list(handlers),
            interceptors=interceptors,
            options=options,
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        )
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    if cell is not None:
        cell.stop = lambda grace: asyncio.run_coroutine_threadsafe(server.stop(grace), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        pool.shutdown()  # while the loop still runs, which its threads talk to
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


STACKS: dict[str, Serve] = {"sync": sync_server, "aio": aio_server}


@contextmanager
def connect(port: int) -> Iterator[Any]:
    """A client's channel."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true result of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.002)
    raise AssertionError("the condition did not come true")


def wait_for_standstill(progress: Callable[[], int]) -> None:
    """Returns when there was some progress, and then none: whoever makes it is stuck."""

    def is_stuck() -> bool:
        before = progress()
        time.sleep(0.02)
        return before > 0 and progress() == before

    wait_for(is_stuck)


class SyncHandlers:
    """Handlers of every kind for a synchronous server, that end as they are told: a key of ``ENDINGS``."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.entered = threading.Event()
        self.release = threading.Event()

    @property
    def service(self) -> grpc.GenericRpcHandler:
        """They are named like their kinds."""
        return speech(**{kind: getattr(self, kind) for kind in KINDS})

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

    def unary_unary(self, request: bytes, context: Any) -> Any:
        self.end(context)
        return b"."

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> Any:
        list(requests)
        self.end(context)
        return b"."

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"."
        self.end(context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests
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


HANDLERS: dict[str, type[SyncHandlers]] = {"sync": SyncHandlers, "aio": AioHandlers}


def call(port: int, kind: str, handlers: SyncHandlers) -> tuple[grpc.StatusCode, dict[str, str | bytes]]:
    """Make one RPC, cancel it where that is its ending, and give what its client saw: a code, and the trailing metadata."""
    timeout = 0.3 if handlers.ending == "deadline" else None
    with connect(port) as channel:
        stub = getattr(channel, kind)(f"/test.Speech/{kind}")
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
