"""Statuses that only grpc knows: others further out change how an RPC ends, or what a handler sets or raises cannot be sent.

A client's status is compared with what is counted, one RPC after the other.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import KINDS, STACKS, connect, wait_for

Code = grpc.StatusCode
Step = Callable[[Any], Any]


def throw(error: BaseException) -> Step:
    """A step that raises."""

    def step(context: Any) -> None:
        raise error

    return step


def aborting(code: Any, details: Any = "no") -> Step:
    """A step that aborts."""
    return lambda context: context.abort(code, details)


def setting(code: Any) -> Step:
    """A step that sets a code."""
    return lambda context: context.set_code(code)


def trailing(entry: Any) -> Step:
    """A step that sets metadata."""
    return lambda context: context.set_trailing_metadata((entry,))


def initial(entry: Any) -> Step:
    """A step that sends initial metadata."""
    return lambda context: context.send_initial_metadata((entry,))


def swallowed(step: Step) -> Step:
    """A step whose exception nobody sees."""

    async def wait(result: Any) -> None:
        with suppress(Exception):
            await result

    def swallow(context: Any) -> Any:
        with suppress(Exception):
            result = step(context)
            return wait(result) if inspect.isawaitable(result) else None

    return swallow


class UnprintableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Stopped(BaseException):
    """What nobody catches who catches Exception."""


RESPOND: Step = lambda context: b"."  # noqa: E731 - a step like the others

HANDLERS: dict[str, list[Step]] = {
    "ok": [RESPOND],
    "raises": [throw(ValueError("no"))],
    "responds, raises": [RESPOND, throw(ValueError("no"))],
    "aborts": [aborting(Code.INVALID_ARGUMENT)],
    "responds, aborts": [RESPOND, aborting(Code.INVALID_ARGUMENT)],
    "sets": [lambda context: context.set_code(Code.OUT_OF_RANGE), RESPOND],
}

ODD: dict[str, list[Step]] = {
    **{
        f"{how} {code!r}": steps
        for code in (0, 1, 5, 14, 15, 16, 17, -1, True, "NOT_FOUND", 5.0, HTTPStatus.NOT_FOUND, HTTPStatus.CONTINUE)
        for how, steps in {
            "sets": [setting(code), RESPOND],
            "sets, raises": [setting(code), throw(ValueError("no"))],
            "aborts": [aborting(code)],
        }.items()
    },
    "aborts with OK": [aborting(Code.OK)],
    "aborts, sets": [swallowed(aborting(Code.NOT_FOUND)), lambda context: context.set_code(Code.ABORTED), RESPOND],
    "aborts twice": [swallowed(aborting(Code.NOT_FOUND)), swallowed(aborting(Code.ABORTED)), RESPOND],
    "aborts with a number as details": [aborting(Code.NOT_FOUND, 5)],
    "aborts with half a character": [aborting(Code.NOT_FOUND, "\ud83d")],
    "half a character": [lambda context: context.set_details("\ud83d"), RESPOND],
    **{
        f"metadata {entry!r}{', raises' if more else ''}": [
            trailing(entry), *more, RESPOND,
        ]
        for entry in (("Key", "v"), ("k", b"\xff"), ("k", "\ud83d"), ("k-bin", b"\xff"), ("k", "ä"), ("a key", "v"), ("", ""), ("k", "v"))
        for more in ([], [throw(ValueError("no"))])
    },
    **{
        f"raises {error!r:.40}": [throw(error)]
        for error in (
            StopIteration(1), StopAsyncIteration(), GeneratorExit(), Stopped(), BaseExceptionGroup("no", [Stopped()]), MemoryError(),
            ExceptionGroup("no", [ValueError("no")]), grpc.RpcError(), grpc.aio.AbortError(), grpc.aio.InternalError(),
        )
    },
    "raises what has no text": [throw(UnprintableError())],
    "sets, raises what has no text": [lambda context: context.set_code(Code.NOT_FOUND), throw(UnprintableError())],
    "sets OK, raises another's abort": [lambda context: context.set_code(Code.OK), throw(grpc.aio.AbortError())],
    "None as a response": [lambda context: None],
}  # fmt: skip
ODD_IN_EACH_KIND: dict[str, list[Step]] = {
    "sets None": [setting(None), RESPOND],
    "sets None, raises": [setting(None), throw(ValueError("no"))],
    "aborts None": [aborting(None)],
    **{
        f"initial metadata {entry!r}{more}": [initial(entry), *steps, RESPOND]
        for entry in (("Key", "v"), ("a key", "v"), ("k", "\n"), ("k", "v"))
        for more, steps in {"": [], ", raises": [throw(ValueError("no"))], ", trailing": [trailing(("k", "v"))]}.items()
    },
}
SILENT = ("aborts 0", "aborts with OK", "half a character", "\\ud83d", "GeneratorExit", "Stopped", "no text")
"""What stands in the names of programs to which grpc may send no status: their clients wait for their deadline."""


def program(steps: list[Step], *, asynchronous: bool, streams: bool) -> Any:
    """A handler that takes the steps; what the last one gives is its response, in a stream what any gives."""

    def unary(request: Any, context: Any) -> Any:
        return [step(context) for step in steps][-1]

    def stream(request: Any, context: Any) -> Iterator[Any]:
        for step in steps:
            if (response := step(context)) is not None or step is ODD["None as a response"][0]:
                yield response

    async def awaited(result: Any) -> Any:
        return await result if inspect.isawaitable(result) else result

    async def aunary(request: Any, context: Any) -> Any:
        return [await awaited(step(context)) for step in steps][-1]

    async def astream(request: Any, context: Any) -> AsyncIterator[Any]:
        for step in steps:
            if (response := await awaited(step(context))) is not None or step is ODD["None as a response"][0]:
                yield response

    if asynchronous:
        return astream if streams else aunary
    return stream if streams else unary


class Further(grpc.ServerInterceptor):
    """An interceptor of somebody else, that ends RPCs in its own way."""

    WAYS = (
        "raises before", "aborts before", "answers itself", "replaces the failure", "drops the failure", "maps by abort", "maps by code",
        "raises another", "calls again", "calls twice", "sets after", "aborts after", "raises after", "takes the first",
    )  # fmt: skip

    def __init__(self) -> None:
        self.way = ""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self.around(continuation(handler_call_details))

    def around(self, handler: Any) -> Any:
        kind = next(kind for kind in KINDS if getattr(handler, kind))
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        behavior = (self.stream if kind.endswith("stream") else self.unary)(getattr(handler, kind), self.way)
        return make(behavior, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer)

    def before(self, way: str, context: Any) -> Any:
        if way == "raises before":
            raise ValueError("no")
        return context.abort(Code.PERMISSION_DENIED, "no") if way == "aborts before" else None

    def failed(self, way: str, context: Any, error: Exception) -> Any:
        if way == "maps by abort":
            return context.abort(Code.NOT_FOUND, "no")
        if way == "maps by code":
            context.set_code(Code.NOT_FOUND)
        elif way == "raises another":
            raise KeyError("no") from error
        elif way != "replaces the failure":
            raise error
        return None

    def after(self, way: str, context: Any) -> Any:
        if way == "raises after":
            raise ValueError("no")
        if way == "sets after":
            context.set_code(Code.ALREADY_EXISTS)
        return context.abort(Code.ABORTED, "no") if way == "aborts after" else None

    def unary(self, behavior: Any, way: str) -> Any:
        def handle(request: Any, context: Any) -> Any:
            self.before(way, context)
            if way == "answers itself":
                return b"mine"
            try:
                response = behavior(request, context)
                if way == "calls twice":
                    response = behavior(request, context)
            except Exception as error:  # noqa: BLE001 - what such interceptors do
                if way == "calls again":
                    return behavior(request, context)
                self.failed(way, context, error)
                return b"mine"
            self.after(way, context)
            return response

        return handle

    def stream(self, behavior: Any, way: str) -> Any:
        def handle(request: Any, context: Any) -> Iterator[Any]:
            self.before(way, context)
            if way == "answers itself":
                yield b"mine"
                return
            try:
                for response in behavior(request, context):
                    yield response
                    if way == "takes the first":
                        return
                if way == "calls twice":
                    yield from behavior(request, context)
            except Exception as error:  # noqa: BLE001 - what such interceptors do
                if way == "calls again":
                    yield from behavior(request, context)
                    return
                self.failed(way, context, error)
                yield b"mine"
                return
            self.after(way, context)

        return handle


class AioFurther(Further, grpc.aio.ServerInterceptor):
    """The same for an asynchronous server."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # type: ignore[override]  # as grpc has it
        return self.around(await continuation(handler_call_details))

    async def run(self, what: Callable[..., Any], *arguments: Any) -> None:
        result = what(*arguments)
        if inspect.isawaitable(result):
            await result

    def unary(self, behavior: Any, way: str) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            await self.run(self.before, way, context)
            if way == "answers itself":
                return b"mine"
            try:
                response = await behavior(request, context)
                if way == "calls twice":
                    response = await behavior(request, context)
            except Exception as error:  # noqa: BLE001 - what such interceptors do
                if way == "calls again":
                    return await behavior(request, context)
                await self.run(self.failed, way, context, error)
                return b"mine"
            await self.run(self.after, way, context)
            return response

        return handle

    def stream(self, behavior: Any, way: str) -> Any:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            await self.run(self.before, way, context)
            if way == "answers itself":
                yield b"mine"
                return
            try:
                async for response in behavior(request, context):
                    yield response
                    if way == "takes the first":
                        return
                if way == "calls twice":
                    async for response in behavior(request, context):
                        yield response
            except Exception as error:  # noqa: BLE001 - what such interceptors do
                if way == "calls again":
                    async for response in behavior(request, context):
                        yield response
                    return
                await self.run(self.failed, way, context, error)
                yield b"mine"
                return
            await self.run(self.after, way, context)

        return handle


class Methods(grpc.GenericRpcHandler):
    """One method, whose handler is exchanged."""

    def __init__(self) -> None:
        self.handler: Any = None

    def service(self, handler_call_details: Any) -> Any:
        return self.handler


class Probe:
    """A server, and a client that makes one RPC after the other: what it saw, and what was counted."""

    def __init__(self, capture: Capture, stack: str, channel: Any, methods: Methods) -> None:
        self._capture, self._stack, self._channel, self._methods = capture, stack, channel, methods
        self._telemetry = capture.telemetry
        self._count = 0

    def make(self, steps: list[Step], kind: str, timeout: float = 10) -> tuple[str, str]:
        """Make one RPC, and return the name of the code that its client saw, and of the one that was counted."""
        streams = kind.endswith("stream")
        handler = program(steps, asynchronous=self._stack == "aio", streams=streams)
        self._methods.handler = getattr(grpc, f"{kind}_rpc_method_handler")(handler)
        stub = getattr(self._channel, kind)(f"/test.Speech/{kind}")
        rpc = (stub if streams else stub.future)(b"a", timeout=timeout)
        with suppress(grpc.RpcError, grpc.FutureCancelledError):
            list(rpc) if streams else rpc.result()
        self._count += 1
        spans = wait_for(lambda: len(spans := self._servers()) >= self._count and spans)
        return rpc.code().name, spans[-1].attributes["rpc.response.status_code"]

    def counted(self) -> int:
        """The RPCs that were counted."""
        return int(self._capture.total("rpc.server.call.duration"))

    def _servers(self) -> list[Any]:
        return [span for span in self._capture.spans if span.kind is SpanKind.SERVER]


def probe(stack: str, capture: Capture, opened: ExitStack, before: Any = ()) -> Probe:
    """Start a server and a client."""
    logging.disable(logging.CRITICAL)  # grpc writes the traceback of each exception
    opened.callback(logging.disable, logging.NOTSET)
    methods = Methods()
    port = opened.enter_context(STACKS[stack](capture.telemetry(clock=SystemClock()), methods, before=before, workers=64))
    return Probe(capture, stack, opened.enter_context(connect(port)), methods)


def tells_nothing(way: str, name: str, kind: str) -> bool:
    """Whether nothing tells of it: a stream that somebody further out ends with an exception after its last response."""
    return kind.endswith("stream") and way == "raises after" and name == "ok"


@pytest.mark.parametrize("stack", STACKS)
def test_what_others_further_out_make_of_an_rpc(stack: str, capture_tts: Capture) -> None:
    """Whatever an interceptor further out does with the handler and its end, the client's status is counted, once."""
    further = AioFurther() if stack == "aio" else Further()
    wrong, made = [], 0
    with ExitStack() as opened:
        server = probe(stack, capture_tts, opened, [further])
        for further.way in Further.WAYS:
            for name, steps in HANDLERS.items():
                for kind in ("unary_unary", "unary_stream"):
                    if tells_nothing(further.way, name, kind):
                        continue
                    seen, counted = server.make(steps, kind)
                    made += 1
                    if seen != counted:
                        wrong.append((further.way, name, kind, seen, counted))
        assert server.counted() == made
    assert wrong == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("stack", STACKS)
def test_odd_ends_have_the_status_that_grpc_sends(stack: str, capture_tts: Capture, capfd: pytest.CaptureFixture[str]) -> None:
    """Codes, metadata, details and exceptions that grpc does not take as they are: what the client gets is counted."""
    wrong = []
    cases = [(name, steps, KINDS[index % 2]) for index, (name, steps) in enumerate(ODD.items())]  # a single response, or a stream
    cases += [(name, steps, kind) for name, steps in ODD_IN_EACH_KIND.items() for kind in KINDS[:2]]
    with ExitStack() as opened:
        server = probe(stack, capture_tts, opened)
        for name, steps, kind in cases:
            seen, counted = server.make(steps, kind, 0.2 if any(part in name for part in SILENT) else 10)
            if seen != counted:
                wrong.append((name, kind, seen, counted))
        assert server.counted() == len(cases)
    assert wrong == []


@pytest.mark.parametrize("has_served", [False, True], ids=["unknown method", "known method"])
@pytest.mark.parametrize("stack", STACKS)
def test_an_interceptor_that_rejects_by_an_exception(stack: str, has_served: bool, capture_tts: Capture) -> None:
    """An RPC whose handler cannot be looked up, since an interceptor further in raises, is counted as its client saw it."""

    class Rejecting(grpc.ServerInterceptor):
        rejects = not has_served

        def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            if self.rejects:
                raise ValueError("no")
            return continuation(handler_call_details)

    class AioRejecting(Rejecting, grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # type: ignore[override]  # as grpc has it
            await asyncio.sleep(0)
            return await super().intercept_service(continuation, handler_call_details)

    logging.disable(logging.CRITICAL)
    rejecting = AioRejecting() if stack == "aio" else Rejecting()
    methods = Methods()
    methods.handler = grpc.unary_unary_rpc_method_handler(program(HANDLERS["ok"], asynchronous=stack == "aio", streams=False))
    codes = []
    try:
        with STACKS[stack](capture_tts.telemetry(), methods, after=[rejecting]) as port, connect(port) as channel:
            for rejecting.rejects in (not has_served, True):
                rpc = channel.unary_unary("/test.Speech/unary_unary").future(b"a", timeout=10)
                rpc.exception()
                codes.append(rpc.code().name)
                wait_for(lambda: capture_tts.total("rpc.server.call.duration") >= len(codes))
    finally:
        logging.disable(logging.NOTSET)
    counted = [
        (attributes["rpc.response.status_code"], attributes["rpc.method"])
        for attributes, _ in capture_tts.metrics()["rpc.server.call.duration"]
    ]
    method = "test.Speech/unary_unary" if has_served else "_OTHER"
    assert (codes, sorted(counted)) == (
        ["OK", "UNKNOWN"] if has_served else ["UNKNOWN", "UNKNOWN"],
        [("OK", method), ("UNKNOWN", method)] if has_served else [("UNKNOWN", method)],
    )
