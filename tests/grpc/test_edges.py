"""The interceptors where it gets difficult: back-pressure, other people's metadata and interceptors, odd handlers, crowds."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from opentelemetry import baggage, trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts.core.clock import SystemClock
from otel_tts.grpc import TRACE_RESPONSE, aio_server_interceptor
from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    ENDINGS,
    HANDLERS,
    KINDS,
    STACKS,
    Serve,
    SyncHandlers,
    aio_server,
    call,
    connect,
    kind_of,
    speech,
    sync_server,
    wait_for,
    wait_for_standstill,
)

WAYS: dict[str, tuple[Serve, bool]] = {"sync": (sync_server, False), "aio": (aio_server, True), "threads": (aio_server, False)}
"""How handlers run -> the server, and whether they are asynchronous. ``threads``: synchronous ones in an asynchronous server."""
BIG = bytes(8_000_000)
"""More than fits into what gRPC buffers for a client that does not read."""


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


def trace_response(span: ReadableSpan) -> str:
    """What the caller is told of it."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def ends(capture: Capture) -> Counter[str]:
    """The RPCs by status code, as their metric counts them."""
    counts: Counter[str] = Counter()
    for attributes, count in capture.metrics().get("rpc.server.call.duration", []):
        counts[attributes["rpc.response.status_code"]] += int(count)
    return counts


class Around(grpc.ServerInterceptor):
    """Another interceptor: ``around`` makes a behavior of a behavior."""

    def __init__(self, around: Callable[[Any], Any]) -> None:
        self.around = around

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self.wrapped(continuation(handler_call_details), handler_call_details.method.rpartition("/")[2])

    def wrapped(self, handler: Any, method: str) -> Any:
        kind = kind_of(method)
        return getattr(grpc, f"{kind}_rpc_method_handler")(self.around(getattr(handler, kind)))


class AioAround(Around, grpc.aio.ServerInterceptor):
    """The same for an asynchronous server."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # type: ignore[override]  # as grpc has it
        return self.wrapped(await continuation(handler_call_details), handler_call_details.method.rpartition("/")[2])


# -- back-pressure ---------------------------------------------------------------------------------------------------------------


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


# -- what goes back to the caller ------------------------------------------------------------------------------------------------

MINE = (("mine", "1"),)


class Status(grpc.Status):
    """As ``grpc_status.rpc_status.to_status`` makes one."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    details = "no"
    trailing_metadata = (("grpc-status-details-bin", b"\x08\x03"),)


def raising(context: Any) -> None:
    """Leaves the metadata that were set before."""
    context.set_trailing_metadata(MINE)
    raise ValueError("no")


def aborting(context: Any) -> Any:
    """Does as well."""
    context.set_trailing_metadata(MINE)
    return context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


ANSWERS: dict[str, tuple[Callable[[Any], Any], dict[str, Any], str]] = {
    "sets": (lambda context: context.set_trailing_metadata(MINE), dict(MINE), "OK"),
    "raises": (raising, dict(MINE), "UNKNOWN"),
    "aborts": (aborting, dict(MINE), "INVALID_ARGUMENT"),
    "aborts with metadata": (lambda c: c.abort(grpc.StatusCode.INVALID_ARGUMENT, "no", MINE), dict(MINE), "INVALID_ARGUMENT"),
    "aborts with status": (lambda c: c.abort_with_status(Status()), dict(Status.trailing_metadata), "INVALID_ARGUMENT"),
    "aborts plainly": (lambda c: c.abort(grpc.StatusCode.INVALID_ARGUMENT, "no"), {}, "INVALID_ARGUMENT"),
}
IMPOSSIBLE = {("sync", "aborts with metadata"), ("threads", "aborts with status")}  # no such method, or no such argument


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize(("way", "how"), [(w, a) for w in WAYS for a in ANSWERS if (w, a) not in IMPOSSIBLE])
def test_the_trace_id_reaches_the_caller_beside_the_handlers_own_metadata(
    way: str, how: str, kind: str, capture_tts: Capture
) -> None:
    """However a handler ends its RPC, its trailing metadata arrive whole, and ours with them."""
    serve, asynchronous = WAYS[way]
    act, trailing, code = ANSWERS[how]
    with serve(capture_tts.telemetry(), speech(**doing(act, asynchronous=asynchronous))) as port:
        answer = ask(port, kind)
        span = the_rpc(capture_tts)
    assert answer.trailing == {**trailing, TRACE_RESPONSE: trace_response(span)}
    assert (answer.code.name, ends(capture_tts)) == (code, {code: 1})


@pytest.mark.parametrize("stack", STACKS)
def test_interceptors_before_and_after_keep_what_is_theirs(stack: str, capture_tts: Capture) -> None:
    """Trailing metadata from further out arrive too; what stands further in works inside the SERVER span."""
    seen: dict[str, int] = {}

    def noting(where: str) -> Callable[[Any], Any]:
        def note(context: Any) -> None:
            seen[where] = trace.get_current_span().get_span_context().span_id
            if where == "before":
                context.set_trailing_metadata((("outer", "1"),))

        def around(behavior: Any) -> Any:
            def unary(request: Any, context: Any) -> Any:
                note(context)
                return behavior(request, context)

            async def aunary(request: Any, context: Any) -> Any:
                note(context)
                return await behavior(request, context)

            return aunary if stack == "aio" else unary

        return around

    other = AioAround if stack == "aio" else Around
    handlers = doing(lambda context: None, asynchronous=stack == "aio")
    before, after = [other(noting("before"))], [other(noting("after"))]
    with STACKS[stack](capture_tts.telemetry(), speech(**handlers), before=before, after=after) as port:
        answer = ask(port, "unary_unary")
        span = the_rpc(capture_tts)
    assert span.context is not None
    assert seen == {"before": 0, "after": span.context.span_id}
    assert answer.trailing == {"outer": "1", TRACE_RESPONSE: trace_response(span)}


@pytest.mark.parametrize("stack", STACKS)
def test_an_interceptor_that_refuses_gives_the_rpc_its_status(stack: str, capture_tts: Capture) -> None:
    """When one further in lets nobody through, that is an RPC like any other."""

    def refuse(context: Any) -> Any:
        return context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    asynchronous = stack == "aio"
    refusal = doing(refuse, asynchronous=asynchronous)["unary_unary"]
    after = [(AioAround if asynchronous else Around)(lambda behavior: refusal)]
    handlers = doing(lambda context: pytest.fail("let through"), asynchronous=asynchronous)
    with STACKS[stack](capture_tts.telemetry(), speech(**handlers), after=after) as port:
        assert ask(port, "unary_unary").code is grpc.StatusCode.UNAUTHENTICATED
        assert the_rpc(capture_tts).name == "test.Speech/unary_unary"
    assert ends(capture_tts) == {"UNAUTHENTICATED": 1}


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_handlers_exception_reaches_grpc_as_it_is(stack: str, kind: str, capture_tts: Capture) -> None:
    """The very object that a handler raises arrives further out, and the client reads what it would read without us."""
    error = KeyError("theirs")
    caught: list[BaseException] = []

    def act(context: Any) -> None:
        raise error

    def around(behavior: Any) -> Any:
        def unary(request: Any, context: Any) -> Any:
            try:
                return behavior(request, context)
            except KeyError as arrived:
                caught.append(arrived)
                raise

        def stream(request: Any, context: Any) -> Any:
            try:
                yield from behavior(request, context)
            except KeyError as arrived:
                caught.append(arrived)
                raise

        async def aunary(request: Any, context: Any) -> Any:
            try:
                return await behavior(request, context)
            except KeyError as arrived:
                caught.append(arrived)
                raise

        async def astream(request: Any, context: Any) -> Any:
            try:
                async for response in behavior(request, context):
                    yield response
            except KeyError as arrived:
                caught.append(arrived)
                raise

        return {"sync": (unary, stream), "aio": (aunary, astream)}[stack][kind == "unary_stream"]

    before = [(AioAround if stack == "aio" else Around)(around)]
    handlers = speech(**doing(act, asynchronous=stack == "aio"))
    with STACKS[stack](capture_tts.telemetry(), handlers, before=before) as port:
        observed = ask(port, kind)
    assert len(caught) == 1
    assert caught[0] is error
    with STACKS[stack](None, handlers) as port:
        plain = ask(port, kind)
    assert (observed.code, observed.details) == (plain.code, plain.details)


# -- what comes in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/test.Speech/Missing", "/test.Missing/Speak", "/x"])
@pytest.mark.parametrize("stack", STACKS)
def test_an_unknown_method_counts_as_other(stack: str, path: str, capture_tts: Capture) -> None:
    """Whatever callers make up is one series, and is answered as it would be without us."""
    handlers = speech(**doing(lambda context: None, asynchronous=stack == "aio"))
    with STACKS[stack](capture_tts.telemetry(), handlers) as port:
        answer = ask(port, path)
        span = the_rpc(capture_tts)
    with STACKS[stack](None, handlers) as port:
        assert ask(port, path) == answer
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    expected = {"rpc.system.name": "grpc", "rpc.method": "_OTHER", "rpc.response.status_code": "UNIMPLEMENTED"}
    expected["error.type"] = "UNIMPLEMENTED"
    assert (span.name, dict(span.attributes or {})) == ("_OTHER", expected)
    assert capture_tts.metrics() == {"rpc.server.call.duration": [(expected, 1)]}


@pytest.mark.parametrize("stack", STACKS)
def test_machines_that_ask_for_health_leave_no_trace(stack: str, capture_tts: Capture) -> None:
    """Health checks and reflection are no RPCs of ours; a service can be left out by name."""
    with STACKS[stack](capture_tts.telemetry(), speech(**doing(lambda context: None, asynchronous=stack == "aio"))) as port:
        pass
    servicer: Any = health.aio.HealthServicer() if stack == "aio" else health.HealthServicer()

    class Handlers:
        """Takes handlers as a server does."""

        def __init__(self) -> None:
            self.taken: list[grpc.GenericRpcHandler] = []

        def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
            self.taken += handlers

        def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
            """The generic ones do."""

    handlers: Any = Handlers()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, handlers)
    reflection.enable_server_reflection(("test.Speech",), handlers)
    with (
        STACKS[stack](capture_tts.telemetry(), *handlers.taken) as port,
        connect(port) as channel,
    ):
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert [service.name for service in answer.list_services_response.service] == ["test.Speech"]
    assert (capture_tts.spans, capture_tts.metrics()) == ([], {})


REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("stack", STACKS)
def test_a_remote_parent_is_honoured(stack: str, capture_tts: Capture) -> None:
    """The caller's trace goes on here, binary metadata and all."""
    handlers = speech(**doing(lambda context: None, asynchronous=stack == "aio"))
    with STACKS[stack](capture_tts.telemetry(), handlers) as port:
        answer = ask(port, "unary_unary", metadata=(("traceparent", REMOTE), ("x-bin", b"\x00\xff"), ("x-bin", b"\xfe")))
        span = the_rpc(capture_tts)
    assert answer.code is grpc.StatusCode.OK
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (REMOTE[3:35], REMOTE[36:52])


BAD = ["", "00", REMOTE[:-3], REMOTE.replace("0af7", "zzzz"), "ff" + REMOTE[2:], "00-" + "0" * 32 + REMOTE[35:]]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("stack", STACKS)
def test_a_bad_traceparent_does_no_harm(stack: str, bad: str, capture_tts: Capture) -> None:
    """It is as if there were none."""
    handlers = speech(**doing(lambda context: None, asynchronous=stack == "aio"))
    with STACKS[stack](capture_tts.telemetry(), handlers) as port:
        answer = ask(port, "unary_unary", metadata=(("traceparent", bad),))
        span = the_rpc(capture_tts)
    assert answer.code is grpc.StatusCode.OK
    assert span.parent is None


async def test_a_server_that_was_started_inside_a_span_serves_traces_of_their_own(capture_tts: Capture) -> None:
    """The tasks of an asynchronous server inherit what was current when it started; the callers' RPCs are no part of that."""
    telemetry = capture_tts.telemetry()
    server = grpc.aio.server(handlers=[Anything()], interceptors=[aio_server_interceptor(telemetry)])
    port = server.add_insecure_port("127.0.0.1:0")
    with telemetry.emitter.tracer.start_as_current_span("start"):
        await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = channel.unary_unary("/test.Speech/Speak")
        await stub(b"a")
    await server.stop(0)
    assert the_rpc(capture_tts).parent is None


@pytest.mark.parametrize("stack", STACKS)
def test_baggage_of_other_interceptors_reaches_the_handler(stack: str, capture_tts: Capture) -> None:
    """The handler's context is the current one, with our span in it."""
    seen: list[tuple[object, object]] = []

    def around(behavior: Any) -> Any:
        def unary(request: Any, context: Any) -> Any:
            attach(baggage.set_baggage("tenant", "t1"))
            return behavior(request, context)

        async def aunary(request: Any, context: Any) -> Any:
            attach(baggage.set_baggage("tenant", "t1"))
            return await behavior(request, context)

        return aunary if stack == "aio" else unary

    def act(context: Any) -> None:
        seen.append((baggage.get_baggage("tenant"), trace.get_current_span().get_span_context().span_id))

    before = [(AioAround if stack == "aio" else Around)(around)]
    handlers = speech(**doing(act, asynchronous=stack == "aio"))
    with STACKS[stack](capture_tts.telemetry(), handlers, before=before) as port:
        ask(port, "unary_unary")
        span = the_rpc(capture_tts)
    assert span.context is not None
    assert seen == [("t1", span.context.span_id)]


# -- handlers of all sorts -------------------------------------------------------------------------------------------------------


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


class Anything(grpc.GenericRpcHandler):
    """Answers every method, with a handler of its own each time."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.asynchronously)

    async def asynchronously(self, request: bytes, context: Any) -> bytes:
        return b"."


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


# -- time, memory and crowds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sync", "threads"])
def test_waiting_for_a_thread_counts(way: str, capture_tts: Capture) -> None:
    """The clock starts when an RPC arrives, and in an overloaded server that is long before a thread takes it up."""
    entered, release = threading.Event(), threading.Event()
    arrived: list[str] = []

    def unary(request: bytes, context: Any) -> bytes:
        entered.set()
        release.wait(10)
        return b"."

    class Arrivals(grpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            handler = continuation(handler_call_details)
            arrived.append(handler_call_details.method)
            return handler

    class AioArrivals(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            handler = await continuation(handler_call_details)
            arrived.append(handler_call_details.method)
            return handler

    before = [Arrivals() if way == "sync" else AioArrivals()]
    with (
        WAYS[way][0](capture_tts.telemetry(), speech(unary_unary=unary), before=before, workers=1) as port,
        connect(port) as channel,
    ):
        stub = channel.unary_unary("/test.Speech/unary_unary")
        first = stub.future(b"a")
        assert entered.wait(5)
        second = stub.future(b"a")
        wait_for(lambda: len(arrived) == 2)
        capture_tts.clock.advance(5)
        release.set()
        assert (first.result(5), second.result(5)) == (b".", b".")
        spans = wait_for(lambda: len(capture_tts.spans) == 2 and capture_tts.spans)
    assert [(span.end_time - span.start_time) / 1e9 for span in spans] == [5.0, 5.0]
    assert [point.sum for point in capture_tts.points("rpc.server.call.duration")] == [10.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("way", "kind"),
    # grpc keeps the responses of a synchronous handler in an asynchronous server in a circle of its own.
    [(w, k) for w in WAYS for k in ("unary_unary", "unary_stream") if (w, k) != ("threads", "unary_stream")],
)
def test_an_rpc_leaves_nothing_behind(way: str, kind: str, capture_tts: Capture) -> None:
    """What belongs to an RPC is freed with it, and does not wait for a garbage collection."""
    serve, asynchronous = WAYS[way]
    alive: list[weakref.ref[Any]] = []

    def act(context: Any) -> None:
        alive.append(weakref.ref(asyncio.current_task() if asynchronous else context))

    gc.collect()
    gc.disable()
    try:
        with serve(capture_tts.telemetry(), speech(**doing(act, asynchronous=asynchronous))) as port:
            for _ in range(5):
                assert ask(port, kind).code is grpc.StatusCode.OK
            wait_for(lambda: not any(reference() for reference in alive))
    finally:
        gc.enable()


@pytest.mark.parametrize("stack", STACKS)
def test_a_server_that_stops_ends_what_is_under_way(stack: str, capture_tts: Capture) -> None:
    """Every RPC in flight has its span and its point when the server is gone."""
    entered: list[int] = []
    release = threading.Event()

    def unary(request: bytes, context: Any) -> bytes:
        entered.append(1)
        release.wait(10)
        return b"."

    async def aunary(request: bytes, context: Any) -> bytes:
        entered.append(1)
        await asyncio.sleep(30)
        return b"."

    handlers = speech(unary_unary=aunary if stack == "aio" else unary)
    try:
        with STACKS[stack](capture_tts.telemetry(), handlers) as port:
            channel: Any = grpc.insecure_channel(f"127.0.0.1:{port}")
            calls = [channel.unary_unary("/test.Speech/unary_unary").future(b"a") for _ in range(4)]
            wait_for(lambda: len(entered) == 4)
        codes = [rpc.code().name for rpc in calls]
        spans = wait_for(lambda: len(capture_tts.spans) == 4 and capture_tts.spans)
        channel.close()
    finally:
        release.set()
    assert codes == ["UNAVAILABLE"] * 4
    assert [dict(span.attributes)["rpc.response.status_code"] for span in spans] == codes
    assert ends(capture_tts) == {"UNAVAILABLE": 4}


CROWD = {"ok": 40, "abort": 40, "set_code": 40, "exception": 40, "cancel": 20, "deadline": 20}


@pytest.mark.parametrize("stack", STACKS)
def test_two_hundred_rpcs_at_once_are_counted_exactly(stack: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever their endings, each is one span, one point and one request, and none stays active."""
    caplog.set_level(logging.CRITICAL)  # grpc writes the traceback of each exception
    telemetry = capture_tts.telemetry(clock=SystemClock())
    servants: dict[str, Any] = {ending: HANDLERS[stack](ending) for ending in CROWD}
    entered: Counter[str] = Counter()
    entering = threading.Lock()

    def enter(ending: str) -> Any:
        with entering:
            entered[ending] += 1
        return servants[ending]

    def unary(request: bytes, context: Any) -> bytes:
        with telemetry.synthesis(text="hello"):
            enter(request.decode()).end(context)
        return b"."

    async def aunary(request: bytes, context: Any) -> bytes:
        async with telemetry.synthesis(text="hello"):
            await enter(request.decode()).aend(context)
        return b"."

    handlers = speech(unary_unary=aunary if stack == "aio" else unary)
    with (
        STACKS[stack](telemetry, handlers, workers=50) as port,
        connect(port) as channel,
    ):
        stub = channel.unary_unary("/test.Speech/unary_unary")
        endings = sorted(ending for ending, count in CROWD.items() for _ in range(count))
        calls = [(e, stub.future(e.encode(), timeout=1.0 if e == "deadline" else 20)) for e in endings]
        try:
            wait_for(lambda: entered == CROWD, 10)
            for ending, rpc in calls:
                if ending == "cancel":
                    rpc.cancel()
            for _, rpc in calls:
                rpc.code()
            wait_for(lambda: ends(capture_tts).total() == 200)
        finally:
            for servant in servants.values():
                servant.release.set()
    wait_for(lambda: len(capture_tts.spans) == 400)
    assert ends(capture_tts) == {ENDINGS[ending][1]: count for ending, count in CROWD.items()}
    requests = {a["tts.outcome"]: n for a, n in capture_tts.metrics()["tts.synthesis.requests"]}
    assert requests == {"ok": 40, "rejected": 80, "error": 40, "cancelled": 20, "deadline": 20}
    assert capture_tts.total("tts.synthesis.active") == 0


class Roll(grpc.ServerInterceptor):
    """Notes the numbers of the RPCs that reach a server, further out than ours."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.numbers.append(int(dict(handler_call_details.invocation_metadata)["number"]))
        return continuation(handler_call_details)


class AioRoll(Roll, grpc.aio.ServerInterceptor):
    """The same for an asynchronous server."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # type: ignore[override]  # as grpc has it
        return await super().intercept_service(continuation, handler_call_details)


@pytest.mark.parametrize("way", ["sync", "threads"])
def test_a_storm_on_two_threads_is_counted_exactly(way: str, capture_tts: Capture) -> None:
    """Of 200 RPCs, 198 wait for a thread; some leave, some meet their deadline there: each that arrived has its client's status."""
    telemetry = capture_tts.telemetry(clock=SystemClock())
    release, roll = threading.Event(), Roll() if way == "sync" else AioRoll()
    entered: list[int] = []

    def unary(request: bytes, context: Any) -> bytes:
        entered.append(1)
        with telemetry.synthesis("hello"):
            release.wait(30)
        return b"."

    with (
        WAYS[way][0](telemetry, speech(unary_unary=unary), before=[roll], workers=2) as port,
        connect(port) as channel,
    ):
        stub = channel.unary_unary("/test.Speech/unary_unary")

        def call(number: int, timeout: float) -> Any:
            rpc = stub.future(b"a", timeout=timeout, metadata=(("number", str(number)),))
            wait_for(lambda: number in roll.numbers or rpc.done())  # so that its deadline does not begin before the way is free
            return rpc

        rpcs = [call(n, 2.5 if n % 3 == 1 else 60) for n in range(200)]
        try:
            for rpc in rpcs[2::3]:
                rpc.cancel()
            for rpc in rpcs[1::3]:
                rpc.code()
        finally:
            release.set()
        codes = [rpc.code().name for rpc in rpcs]
        wait_for(lambda: ends(capture_tts).total() >= len(roll.numbers))
        wait_for(lambda: capture_tts.total("tts.synthesis.active") == 0)
    assert ends(capture_tts) == Counter(codes[n] for n in roll.numbers)
    assert [set(codes[n::3]) for n in range(3)] == [{"OK"}, {"DEADLINE_EXCEEDED"}, {"CANCELLED"}]
    assert sum(s.kind is SpanKind.SERVER for s in capture_tts.spans) == len(roll.numbers)
