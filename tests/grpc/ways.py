"""Servers of every kind, started and called by the tests of the interceptors."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    KINDS,
    Serve,
    aio_server,
    connect,
    kind_of,
    sync_server,
    wait_for,
)

WAYS: dict[str, tuple[Serve, bool]] = {"sync": (sync_server, False), "aio": (aio_server, True), "threads": (aio_server, False)}
"""How handlers run -> the server, and whether they are asynchronous. ``threads``: synchronous ones in an asynchronous server."""


class Answer(NamedTuple):
    """What a client saw."""

    code: grpc.StatusCode
    details: str
    trailing: dict[str, str | bytes]
    responses: list[bytes]


def ask(port: int, path: str, *, metadata: Sequence[tuple[str, str | bytes]] = ()) -> Answer:
    """Make one RPC: a method of ``test.Speech``, or any full path."""
    kind = "unary_unary" if path.startswith("/") else kind_of(path)
    with connect(port) as channel:
        stub = getattr(channel, kind)(path if path.startswith("/") else f"/test.Speech/{path}")
        request: Any = iter([b"a", b"b"]) if kind.startswith("stream") else b"a"
        rpc = (stub if kind.endswith("stream") else stub.future)(request, metadata=metadata, timeout=10)
        responses: list[bytes] = []
        with suppress(grpc.RpcError):
            responses.extend(rpc if kind.endswith("stream") else [rpc.result()])
        return Answer(rpc.code(), rpc.details(), dict(rpc.trailing_metadata() or ()), responses)


def doing(act: Callable[[Any], Any], *, asynchronous: bool) -> dict[str, Any]:
    """Handlers of every kind that do ``act`` with their context and answer with what it gives."""

    def unary(request: Any, context: Any) -> bytes:
        return act(context) or b"."

    def stream(request: Any, context: Any) -> Iterator[bytes]:
        yield act(context) or b"."
        yield act(context) or b"."

    async def done(context: Any) -> bytes:
        result = act(context)
        return (await result if inspect.isawaitable(result) else result) or b"."

    async def aunary(request: Any, context: Any) -> bytes:
        return await done(context)

    async def astream(request: Any, context: Any) -> Any:
        yield await done(context)
        yield await done(context)

    made = (aunary, astream) if asynchronous else (unary, stream)
    return {kind: made[kind.endswith("stream")] for kind in KINDS}


def the_rpc(capture: Capture) -> ReadableSpan:
    """The only SERVER span there is."""
    wait_for(lambda: [s for s in capture.spans if s.kind is SpanKind.SERVER])
    (span,) = [s for s in capture.spans if s.kind is SpanKind.SERVER]
    return span


def ends(capture: Capture) -> Counter[str]:
    """The RPCs by status code, as their metric counts them."""
    counts: Counter[str] = Counter()
    for attributes, count in capture.metrics().get("rpc.server.call.duration", []):
        counts[attributes["rpc.response.status_code"]] += int(count)
    return counts


class Anything(grpc.GenericRpcHandler):
    """Answers every method, with a handler of its own each time."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.asynchronously)

    async def asynchronously(self, request: bytes, context: Any) -> bytes:
        return b"."
