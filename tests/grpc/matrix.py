"""Every way an RPC can end, on every kind of method and of server, and a client that notes what it saw of it.

Nothing here knows how the interceptors work: the handlers do what the name of an ending says, the client reads its status.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from otel_tts import Telemetry
from tests.grpc.servers import aio_server, connect, sync_server, wait_for

SIZE_LIMIT = 1000
"""Bytes that a message may have, in both directions."""
OPTIONS = (("grpc.max_send_message_length", SIZE_LIMIT), ("grpc.max_receive_message_length", SIZE_LIMIT))
DEADLINE = 0.15
"""Seconds."""
STACKS = {"sync": (sync_server, False), "aio": (aio_server, True), "threads": (aio_server, False)}
"""Kinds of server -> what starts it, and whether its handlers are asynchronous. ``threads``: synchronous ones under ``grpc.aio``."""

# How an RPC ends -> the outcome of the request that its handler began; None where no handler begins.
BY_HANDLER = {
    "ok": "ok",
    "raise": "error",
    "abort": "rejected",
    "set_code": "rejected",
    "set_code_ok_raise": "error",
    "swallowed_abort": "rejected",
    "swallowed_abort_raise": "rejected",
    "own_cancel": "error",
    "unserialisable": "error",
    "oversized_response": "error",
    "set_code_unserialisable": "error",
    "set_code_oversized_response": "error",
    "set_code_ok_unserialisable": "error",
    "set_code_ok_oversized_response": "error",
    "set_code_undecodable": "rejected",
    "set_code_ok_undecodable": "error",
}
BY_CALLER = {"cancel_middle": "cancelled", "deadline_middle": "deadline", "cancel_sending": "cancelled"}
BY_SERVER = {"stop": "error", "stop_grace": "error"}
UNBEGUN = (
    "cancel_before",
    "deadline_before",
    "undecodable",
    "oversized_request",
    "too_many",
    "cancel_waiting",
    "deadline_waiting",
)
ENDINGS = (*BY_HANDLER, *BY_CALLER, *BY_SERVER, *UNBEGUN)


def possible(stack: str, kind: str, ending: str) -> bool:
    """Whether there is such a cell."""
    if ending == "cancel_sending":
        return kind.startswith("stream") and stack != "threads"
    if ending in ("cancel_waiting", "deadline_waiting"):
        return stack == "sync"
    if ending in ("set_code_undecodable", "set_code_ok_undecodable"):  # the second of the requests
        return kind.startswith("stream") and stack != "threads"
    if stack == "threads":
        # Under grpc.aio a synchronous handler that reads requests waits for ever when its caller leaves, and whether the status with
        # which a generator aborts reaches its caller depends on how threads happen to run.
        return kind.startswith("unary") and not (kind == "unary_stream" and "abort" in ending)
    return True


def outcome(stack: str, kind: str, ending: str) -> str | None:
    """The outcome of the request that the handler began; None where none began."""
    # A single response that comes with a failure is not sent. `grpc` serialises it all the same.
    unsent = ("set_code_oversized_response", *(("set_code_unserialisable",) if stack != "sync" else ()))
    if kind.endswith("unary") and ending in unsent:
        return "rejected"
    return {**BY_HANDLER, **BY_CALLER, **BY_SERVER}.get(ending)


def tellable(stack: str, ending: str) -> bool:
    """Whether there is a way to know what the caller saw: of a request that is too large, ``grpc`` tells only that none came."""
    return (stack, ending) != ("sync", "oversized_request")


@dataclass
class Seen:
    """What the client saw of one RPC."""

    code: str
    responses: int


class Unserialisable(bytes):
    """A response that the serialiser refuses."""


def deserialize(raw: bytes) -> bytes:
    """Reads everything but one."""
    if raw == b"undecodable":
        raise ValueError("no message")
    return raw


def serialize(message: bytes) -> bytes:
    """Writes everything but one."""
    if isinstance(message, Unserialisable):
        raise TypeError("no response")
    return bytes(message)


class Handlers:
    """Synchronous handlers of all kinds that end as they are told; each begins a request to speak first."""

    def __init__(self, telemetry: Telemetry, ending: str) -> None:
        self.telemetry = telemetry
        self.ending = ending
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()

    def service(self, kind: str) -> grpc.GenericRpcHandler:
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        handler = make(getattr(self, kind), request_deserializer=deserialize, response_serializer=serialize)
        return grpc.method_handlers_generic_handler("test.Speech", {"Speak": handler})

    @property
    def waits(self) -> bool:
        return self.ending in (*BY_CALLER, *BY_SERVER, "too_many", "cancel_waiting", "deadline_waiting")

    def response(self) -> bytes:
        if self.ending.endswith("unserialisable"):
            return Unserialisable(b".")
        return bytes(SIZE_LIMIT + 1) if self.ending.endswith("oversized_response") else b"."

    def begin(self, context: Any) -> None:
        """What a handler does before its first response, and before it reads a second request."""
        if self.ending.startswith("set_code_ok_"):
            context.set_code(grpc.StatusCode.OK)
        elif self.ending.startswith("set_code_"):
            context.set_code(grpc.StatusCode.NOT_FOUND)

    def end(self, context: Any) -> None:
        self.entered.release()
        if self.ending == "raise":
            raise ValueError("no")
        if self.ending == "set_code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
        elif self.ending == "set_code_ok_raise":
            raise ValueError("no")
        elif self.ending == "own_cancel":
            raise asyncio.CancelledError
        elif self.ending == "abort":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        elif self.ending.startswith("swallowed_abort"):
            with suppress(BaseException):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
            if self.ending.endswith("raise"):
                raise ValueError("no")
        elif self.waits:
            self.release.wait(20)

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        with self.telemetry.synthesis("hello"):
            self.begin(context)
            self.end(context)
            return self.response()

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        with self.telemetry.synthesis("hello"):
            self.begin(context)
            if self.ending == "cancel_sending":
                self.entered.release()
            list(requests)
            if self.ending != "cancel_sending":
                self.end(context)
            return self.response()

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        with self.telemetry.synthesis("hello", stream=True):
            self.begin(context)
            yield self.response()
            self.end(context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        with self.telemetry.synthesis("hello", stream=True):
            self.begin(context)
            if self.ending == "cancel_sending":
                self.entered.release()
            list(requests)
            yield self.response()
            if self.ending != "cancel_sending":
                self.end(context)


class AsyncHandlers(Handlers):
    """The same, asynchronous."""

    async def aend(self, context: Any) -> None:
        self.entered.release()
        if self.ending == "abort":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        elif self.ending.startswith("swallowed_abort"):
            with suppress(BaseException):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
            if self.ending.endswith("raise"):
                raise ValueError("no")
        elif self.waits:
            await asyncio.sleep(20)
        else:
            self.end(context)

    async def unary_unary(self, request: bytes, context: Any) -> bytes:  # type: ignore[override]
        async with self.telemetry.synthesis("hello"):
            self.begin(context)
            await self.aend(context)
            return self.response()

    async def stream_unary(self, requests: Any, context: Any) -> bytes:  # type: ignore[override]
        async with self.telemetry.synthesis("hello"):
            self.begin(context)
            if self.ending == "cancel_sending":
                self.entered.release()
            async for _ in requests:
                pass
            if self.ending != "cancel_sending":
                await self.aend(context)
            return self.response()

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        async with self.telemetry.synthesis("hello", stream=True):
            self.begin(context)
            yield self.response()
            await self.aend(context)

    async def stream_stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        async with self.telemetry.synthesis("hello", stream=True):
            self.begin(context)
            if self.ending == "cancel_sending":
                self.entered.release()
            async for _ in requests:
                pass
            yield self.response()
            if self.ending != "cancel_sending":
                await self.aend(context)


class Arrivals(grpc.ServerInterceptor):
    """Counts the RPCs that reach a server, further out than ours."""

    def __init__(self) -> None:
        self.count = 0

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.count += 1
        return continuation(handler_call_details)


class AsyncArrivals(grpc.aio.ServerInterceptor):
    """The same, asynchronous."""

    def __init__(self) -> None:
        self.count = 0

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.count += 1
        return await continuation(handler_call_details)


class Cell:
    """One stack, kind and ending: runs it, and keeps what the client saw."""

    def __init__(self, telemetry: Telemetry, stack: str, kind: str, ending: str) -> None:
        self._serve, asynchronous = STACKS[stack]
        self.arrivals: Any = AsyncArrivals() if self._serve is aio_server else Arrivals()
        self.handlers = (AsyncHandlers if asynchronous else Handlers)(telemetry, ending)
        self._telemetry, self._kind, self._ending = telemetry, kind, ending
        self.seen: list[Seen] = []
        self.stop: Callable[[float | None], Any] = lambda grace: None
        self._endless = threading.Event()

    @contextmanager
    def run(self) -> Iterator[None]:
        """The RPCs are over for the client; the server still runs, and handlers that learn of nothing are still at it."""
        ending = self._ending
        workers = 1 if ending.endswith("_waiting") else 4
        limit = 1 if ending == "too_many" else None
        with self._serve(
            self._telemetry, self.handlers.service(self._kind), before=[self.arrivals], workers=workers, options=OPTIONS,
            maximum_concurrent_rpcs=limit, cell=self,
        ) as port, connect(port) as channel:  # fmt: skip
            grpc.channel_ready_future(channel).result(30)  # no deadline passes before an RPC can be sent
            try:
                if ending in ("too_many", "cancel_waiting", "deadline_waiting"):
                    blocking = self._start(channel, 20.0)  # it is over before its deadline, however slow the machine
                    assert self.handlers.entered.acquire(timeout=5)
                    self._end(channel)
                    blocking.cancel()
                    self._see(blocking)
                else:
                    self._end(channel)
                yield
            finally:
                self._endless.set()
                self.handlers.release.set()

    def _end(self, channel: Any) -> None:
        ending = self._ending
        arrived = self.arrivals.count
        rpc = self._start(channel)
        if ending in ("cancel_middle", "cancel_sending", *BY_SERVER):
            assert self.handlers.entered.acquire(timeout=5)
        if ending in ("cancel_before", "cancel_waiting"):
            wait_for(lambda: self.arrivals.count > arrived)
        if ending.startswith("cancel_"):
            rpc.cancel()
        if ending in BY_SERVER:
            self.stop(0.05 if ending == "stop_grace" else None)
        self._see(rpc)

    def _start(self, channel: Any, timeout: float | None = None) -> Any:
        ending, kind = self._ending, self._kind
        headers_only = ending in ("cancel_before", "deadline_before")
        # On the wire a stream of requests begins like a single one: so its headers can go ahead of it.
        sent = "stream_" + kind.partition("_")[2] if headers_only else kind
        stub = getattr(channel, sent)("/test.Speech/Speak")
        # grpc answers nothing to a handler's own CancelledError.
        if timeout is None:
            timeout = {"own_cancel": 3 * DEADLINE}.get(
                ending, DEADLINE if ending.startswith("deadline") else 20.0
            )  # it comes before
        request: Any = {"undecodable": b"undecodable", "oversized_request": bytes(SIZE_LIMIT + 1)}.get(ending, b"hello")
        if headers_only:
            request = self._requests()
        elif ending.endswith("_undecodable"):
            request = self._requests(request, b"undecodable")
        elif sent.startswith("stream"):
            request = self._requests(request, b"." * (ending != "cancel_sending"))
        return stub(request, timeout=timeout) if sent.endswith("stream") else stub.future(request, timeout=timeout)

    def _requests(self, *requests: bytes) -> Iterator[bytes]:
        """An empty one: the client goes on sending."""
        for request in requests:
            if not request:
                break
            yield request
        else:
            if requests:
                return
        self._endless.wait(20)

    def _see(self, rpc: Any) -> None:
        responses = 0
        try:
            if self._kind.endswith("stream"):
                for _ in rpc:
                    responses += 1
            else:
                rpc.result()
                responses = 1
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        self.seen.append(Seen(rpc.code().name, responses))
