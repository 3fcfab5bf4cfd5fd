"""Callers in a hurry: each RPC that reaches the service is counted with what its client saw, whether or not work for it began."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import pytest

from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc

CALLS = 60
TIMEOUT_S = 0.04


class Roll(grpc.aio.ServerInterceptor):
    """Notes the numbers of the RPCs that reach the service, further out than its own interceptor."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if number := dict(handler_call_details.invocation_metadata).get("number"):
            self.numbers.append(int(number))
        return await continuation(handler_call_details)


@pytest.fixture
def roll(monkeypatch: pytest.MonkeyPatch) -> Roll:
    """Of the services that the test starts."""
    roll, server = Roll(), grpc.aio.server
    monkeypatch.setattr(
        grpc.aio, "server", lambda *, interceptors, **options: server(interceptors=[roll, *interceptors], **options)
    )
    return roll


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_forty_milliseconds(
    start: Any,
    scripted: Any,
    capture_tts: Any,
    roll: Roll,
    record_property: Callable[[str, object], None],
    *,
    streaming: bool,
    busy: bool,
) -> None:
    """Of 60 calls that are given 40 ms, each that arrived is counted once and never as OK, also where the loop is busy for longer."""
    never = asyncio.Event()

    class Slow(scripted):  # type: ignore[misc]
        async def stream(self, speech: Any) -> AsyncGenerator[bytes, None]:
            if busy:
                time.sleep(0.06)  # noqa: ASYNC251 - an engine that keeps the event loop
            await never.wait()
            yield b""

    client = await start(Slow("slow", concurrency=4))

    def call() -> list[str]:
        """In a thread, with a client of its own: the loop of the service may be busy."""
        with grpc.insecure_channel(client.service.address) as channel:
            grpc.channel_ready_future(channel).result(30)
            stub = tts_pb2_grpc.TextToSpeechStub(channel)
            rpcs = []
            for n in range(CALLS):
                request, metadata = tts_pb2.SynthesizeRequest(text=f"Number {n}."), (("number", str(n)),)
                send: Any = stub.SynthesizeStream if streaming else stub.Synthesize.future
                rpcs.append(send(request, timeout=TIMEOUT_S, metadata=metadata))
                time.sleep(0.005)
            return [rpc.code().name for rpc in rpcs]

    codes = await asyncio.to_thread(call)

    def counted() -> Counter[str]:
        return Counter(
            {
                attributes["rpc.response.status_code"]: int(count)
                for attributes, count in capture_tts.metrics().get("rpc.server.call.duration", [])
            }
        )

    # An RPC that waits in grpc is looked up later: the roll is complete when all are through.
    await client.until(lambda: counted().total() == len(roll.numbers) > 0 and not capture_tts.total("tts.synthesis.active"), 30)
    assert set(codes) == {"DEADLINE_EXCEEDED"}
    record_property("hostile inputs: RPCs", len(codes))
    assert counted().total() == len(roll.numbers)
    assert counted()["DEADLINE_EXCEEDED"]
    # gRPC says "cancelled" of both: on a busy machine 40 ms may be over for a client long before they are for the server.
    assert set(counted()) <= {"DEADLINE_EXCEEDED", "CANCELLED"}
    outcomes = Counter(s.outcome for s in capture_tts.syntheses())
    assert set(outcomes) <= {"deadline", "cancelled"}
    assert capture_tts.total("tts.synthesis.requests") == outcomes.total()
