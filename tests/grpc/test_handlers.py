"""Handlers of all sorts: spans that they make current, synchronous ones in asynchronous servers, callables and generic methods."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry import trace

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    ENDINGS,
    HANDLERS,
    KINDS,
    STACKS,
    AioHandlers,
    SyncHandlers,
    aio_server,
    call,
    connect,
    kind_of,
    speech,
    wait_for,
)
from tests.grpc.ways import WAYS, Anything, ask, doing, ends, the_rpc


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_the_server_span_is_current_in_the_handler(way: str, kind: str, capture_tts: Capture) -> None:
    """From the handler's first line to its last, whatever runs it."""
    serve, asynchronous = WAYS[way]

    def current(context: Any) -> bytes:
        return f"{trace.get_current_span().get_span_context().span_id:016x}".encode()

    with serve(capture_tts.telemetry(), speech(**doing(current, asynchronous=asynchronous))) as port:
        answer = ask(port, kind)
        span = the_rpc(capture_tts)
    assert span.context is not None
    assert set(answer.responses) == {f"{span.context.span_id:016x}".encode()}


@pytest.mark.parametrize("way", WAYS)
def test_a_span_that_the_handler_makes_current_stays_so_across_its_yields(way: str, capture_tts: Capture) -> None:
    """The host's own spans keep their family: what a streaming handler opens around its yields is the parent of what follows."""
    serve, asynchronous = WAYS[way]
    telemetry = capture_tts.telemetry()
    tracer = telemetry.emitter.tracer

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        with tracer.start_as_current_span("work"):
            yield b"."
            with tracer.start_as_current_span("more"):
                yield b"."

    async def astream(request: bytes, context: Any) -> Any:
        with tracer.start_as_current_span("work"):
            yield b"."
            with tracer.start_as_current_span("more"):
                yield b"."

    with serve(telemetry, speech(unary_stream=astream if asynchronous else stream)) as port:
        ask(port, "unary_stream")
        the_rpc(capture_tts)
    assert [(name, [(n, [m[0] for m in inner]) for n, _, inner in children]) for name, _, children in capture_tts.tree()] == [
        ("test.Speech/unary_stream", [("work", ["more"])])
    ]


@pytest.mark.parametrize(
    ("kind", "ending"),
    # grpc itself loses an abort that comes while a response is being sent, so no stream aborts here.
    [(k, e) for k in ("unary_unary", "stream_unary", "unary_stream") for e in ENDINGS if (k, e) != ("unary_stream", "abort")],
)
def test_synchronous_handlers_of_an_asynchronous_server_end_truly(kind: str, ending: str, capture_tts: Capture) -> None:
    """Grpc tells such handlers nothing of a cancellation or deadline; the span ends with the RPC all the same."""
    handlers = SyncHandlers(ending)
    status, code, error_type, exceptions = ENDINGS[ending]
    with aio_server(capture_tts.telemetry(clock=SystemClock()), handlers.service) as port:
        try:
            seen, _ = call(port, kind, handlers)
            span = the_rpc(capture_tts)
        finally:
            handlers.release.set()
    expected = {"rpc.system.name": "grpc", "rpc.method": f"test.Speech/{kind}", "rpc.response.status_code": code}
    expected |= {"error.type": error_type} if error_type else {}
    assert (seen.name, dict(span.attributes or {})) == (code, expected)
    assert (span.status.status_code, [event.name for event in span.events]) == (status, ["exception"] * exceptions)
    assert capture_tts.metrics() == {"rpc.server.call.duration": [(expected, 1)]}


class Servant:
    """A servicer's method as an object."""

    def __init__(self, behavior: Any) -> None:
        self.behavior = behavior

    def __call__(self, request: Any, context: Any) -> Any:
        return self.behavior(request, context)


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("way", WAYS)
def test_a_handler_may_be_any_callable(way: str, kind: str, capture_tts: Capture) -> None:
    """Partial functions and (where grpc takes them) objects are handlers like any other."""
    serve, asynchronous = WAYS[way]

    def act(context: Any) -> bytes:
        return b"!"

    behavior = doing(act, asynchronous=asynchronous)[kind]
    partial = functools.partial(behavior)
    callables: dict[str, Any] = {f"{kind}_partial": partial}
    if not asynchronous:  # grpc would take such an object for a synchronous handler
        callables[f"{kind}_object"] = Servant(behavior)
    with serve(capture_tts.telemetry(), speech(**callables)) as port:
        for name in callables:
            assert set(ask(port, name).responses) == {b"!"}
        spans = wait_for(lambda: len(capture_tts.spans) == len(callables) and capture_tts.spans)
    assert [span.name for span in spans] == [f"test.Speech/{name}" for name in callables]


async def test_thousands_of_methods_of_a_generic_handler_stay_within_bounds(capture_tts: Capture) -> None:
    """Methods that a handler takes as they come fill the places there are; the rest is one series, and nothing is forgotten."""
    with aio_server(capture_tts.telemetry(), Anything()) as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for start in range(0, 4_000, 500):
                stubs: list[Any] = [channel.unary_unary(f"/test.Speech/M{start + i}") for i in range(500)]
                assert await asyncio.gather(*(stub(b"a") for stub in stubs)) == [b"."] * 500
        points = capture_tts.metrics()["rpc.server.call.duration"]
    assert sum(count for _, count in points) == 4_000
    assert len(points) <= 101
    assert max(points, key=lambda point: point[1])[0]["rpc.method"] == "_OTHER"


@pytest.mark.parametrize(
    "way", ["unary_unary", "stream_unary", "unary_stream", "stream_stream", "unary_stream_written", "stream_stream_written"]
)
def test_a_handler_that_answers_a_caller_who_has_left(way: str, capture_tts: Capture) -> None:
    """It takes no notice of being cancelled, and returns as if all were well: nobody gets that, and it counts as the client saw it."""
    handlers = AioHandlers("cancel")

    async def stay() -> None:
        handlers.entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    async def returning(request: Any, context: Any) -> bytes:
        await stay()
        return b"."

    async def yielding(request: Any, context: Any) -> Any:
        yield b"."
        await stay()

    async def writing(request: Any, context: Any) -> None:
        await context.write(b".")
        await stay()

    kind = kind_of(way)
    behavior = writing if way.endswith("written") else yielding if kind.endswith("stream") else returning
    with aio_server(capture_tts.telemetry(clock=SystemClock()), speech(**{kind: behavior})) as port:
        code, _ = call(port, kind, handlers)
        assert code is grpc.StatusCode.CANCELLED
        assert (the_rpc(capture_tts).attributes or {})["rpc.response.status_code"] == "CANCELLED"
    assert ends(capture_tts) == {"CANCELLED": 1}


def gives(result: Any) -> Any:
    """A deserializer or serializer that gives this, whatever it gets."""
    return lambda _: result


ODD = {
    "request is None": ("request_deserializer", None),
    "request is empty": ("request_deserializer", b""),
    "response is None": ("response_serializer", None),
    "response is a text": ("response_serializer", "."),
    "response is empty": ("response_serializer", b""),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_serializer_that_gives_something_else(stack: str, kind: str, odd: str, capture_tts: Capture) -> None:
    """Grpc sends a status of its own for some of it: that is what is counted."""
    handlers = HANDLERS[stack]("ok")
    name, result = ODD[odd]
    handler = getattr(grpc, f"{kind}_rpc_method_handler")(getattr(handlers, kind), **{name: gives(result)})
    service = grpc.method_handlers_generic_handler("test.Speech", {kind: handler})
    with STACKS[stack](capture_tts.telemetry(clock=SystemClock()), service) as port, connect(port) as channel:
        stub = getattr(channel, kind)(f"/test.Speech/{kind}")
        timeout = 0.5 if (stack, result) == ("sync", ".") else 10  # `grpc` never answers then
        rpc = (stub if kind.endswith("stream") else stub.future)(b"a", timeout=timeout)
        with suppress(grpc.RpcError):
            _ = list(rpc) if kind.endswith("stream") else rpc.result()
        code = rpc.code().name
        the_rpc(capture_tts)
    assert ends(capture_tts) == {code: 1}


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
def test_a_caller_that_sends_no_request(kind: str, capture_tts: Capture) -> None:
    """A method that takes one request is called as if it took a stream, and the stream has none."""
    with STACKS["sync"](capture_tts.telemetry(clock=SystemClock()), SyncHandlers("ok").service) as port, connect(port) as channel:
        responses = channel.stream_stream(f"/test.Speech/{kind}")(iter(()), timeout=10)
        with pytest.raises(grpc.RpcError):
            next(responses)
        assert responses.code() is grpc.StatusCode.UNIMPLEMENTED
        the_rpc(capture_tts)
    assert ends(capture_tts) == {"UNIMPLEMENTED": 1}


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
def test_a_caller_that_sends_no_request_to_an_asynchronous_server(kind: str, capture_tts: Capture) -> None:
    """Grpc never answers it, and looks as if its caller had left: docs/guides/grpc.md says so."""
    with aio_server(capture_tts.telemetry(clock=SystemClock()), AioHandlers("ok").service) as port, connect(port) as channel:
        responses = channel.stream_stream(f"/test.Speech/{kind}")(iter(()), timeout=0.5)
        with pytest.raises(grpc.RpcError):
            next(responses)
        assert responses.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        the_rpc(capture_tts)
    assert ends(capture_tts).keys() <= {"CANCELLED", "DEADLINE_EXCEEDED"}
    assert ends(capture_tts).total() == 1
