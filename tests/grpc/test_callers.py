"""What passes between a handler and its caller: metadata, statuses, exceptions, traces and baggage, beside the interceptors of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from opentelemetry import baggage, trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace import ReadableSpan

from otel_tts.grpc import TRACE_RESPONSE, aio_server_interceptor
from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    STACKS,
    connect,
    kind_of,
    speech,
)
from tests.grpc.ways import WAYS, Anything, ask, doing, ends, the_rpc


def trace_response(span: ReadableSpan) -> str:
    """What the caller is told of it."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


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
