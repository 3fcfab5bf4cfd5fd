"""Time, memory and many RPCs at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import (
    ENDINGS,
    HANDLERS,
    STACKS,
    connect,
    speech,
    wait_for,
)
from tests.grpc.ways import WAYS, ask, doing, ends


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
        stub(b"ok", timeout=60)
        # Then the method is known to speak: the deadline of a later one may pass before its handler begins.
        wait_for(lambda: ends(capture_tts).total() == 1)
        endings = sorted(ending for ending, count in CROWD.items() for _ in range(count))
        endings.remove("ok")
        calls = [(e, stub.future(e.encode(), timeout=1.0 if e == "deadline" else 60)) for e in endings]
        try:
            wait_for(lambda: all(entered[ending] == count for ending, count in CROWD.items() if ending != "deadline"))
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
