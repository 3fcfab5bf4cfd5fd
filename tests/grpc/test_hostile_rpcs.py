"""Generated RPCs: any method, message and metadata, handlers that do anything; whatever arrives is counted with what its client saw.

``HOSTILE_RPCS`` is the number for each kind of server, 100 by default.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from otel_tts import Telemetry
from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.matrix import Arrivals, AsyncArrivals
from tests.grpc.servers import KINDS, STACKS, connect, wait_for

RPCS = int(os.environ.get("HOSTILE_RPCS", "100")) // 2
"""Half of them by callers that wait, half by callers that leave."""
AT_ONCE = 20
LIMIT = 2000
"""Bytes that a message may have."""
TRACE_PARENTS = ["x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", " ", "00-" + "f" * 32 + "-" + "a" * 16 + "-ff"]
BAGGAGE = ["a=b", "=,;=", "%ff=%zz," * 50]


def act(chosen: random.Random, synthesis: Any, context: Any) -> bytes:
    """What a handler does then: what its first request says."""
    how = chosen.randrange(9)
    if how == 0:
        raise ValueError("no")
    if how == 1:
        context.set_code(chosen.choice([code for code in grpc.StatusCode if code is not grpc.StatusCode.CANCELLED]))
    elif how == 2:
        context.set_details("x" * 3000)
    elif how == 3:
        context.set_trailing_metadata((("key", "v" * chosen.randrange(50)),))
    elif how == 4:
        synthesis.interrupt()
    elif how == 5:
        synthesis.add_text("\ud83d")
    elif how == 6:
        raise StopIteration
    return chosen.choice([b"x", b"", b"x" * LIMIT * 2])


class Handlers:
    """Of all kinds."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        chosen = random.Random(request)
        with self.telemetry.synthesis("hi") as synthesis:
            time.sleep(chosen.choice([0, 0, 0.01]))
            return act(chosen, synthesis, context)

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        chosen = random.Random(request)
        with self.telemetry.synthesis("hi", stream=True) as synthesis:
            for _ in range(chosen.randrange(4)):
                yield act(chosen, synthesis, context)

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self.unary_unary(b"".join(requests), context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield from self.unary_stream(request, context)


class AsyncHandlers(Handlers):
    """The same, asynchronous."""

    async def unary_unary(self, request: bytes, context: Any) -> bytes:  # type: ignore[override]
        chosen = random.Random(request)
        async with self.telemetry.synthesis("hi") as synthesis:
            await asyncio.sleep(chosen.choice([0, 0, 0.01]))
            return act(chosen, synthesis, context)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        chosen = random.Random(request)
        async with self.telemetry.synthesis("hi", stream=True) as synthesis:
            for _ in range(chosen.randrange(4)):
                yield act(chosen, synthesis, context)

    async def stream_unary(self, requests: Any, context: Any) -> bytes:  # type: ignore[override]
        return await self.unary_unary(b"".join([request async for request in requests]), context)

    async def stream_stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        async for request in requests:
            async for response in self.unary_stream(request, context):
                yield response


def deserialize(raw: bytes) -> bytes:
    """Reads what does not begin with 255."""
    if raw.startswith(b"\xff"):
        raise ValueError("no message")
    return raw


def start(channel: Any, chosen: random.Random, *, hasty: bool) -> tuple[Any, bool]:
    """Start one RPC; return it, and whether it answers with a stream. Hasty: with a deadline that it may miss, or cancelled."""
    kind = chosen.choice(KINDS)
    method = (
        f"/test.Speech/{kind}" if chosen.random() < 0.9 else chosen.choice(["/test.Speech/none", "/x", "//", "/t/" + "y" * 300])
    )
    messages = [chosen.choice([chosen.randbytes(8), chosen.randbytes(8), b"", b"\xff", bytes(LIMIT + 1)]) for _ in range(4)]
    metadata = [
        ("k-bin", chosen.randbytes(9)),
        ("traceparent", chosen.choice(TRACE_PARENTS)),
        ("baggage", chosen.choice(BAGGAGE)),
    ]
    timeout = chosen.choice([0.1, 0.04, 0.01, 0.002, 0.0]) if hasty else 60
    request: Any = iter(messages[: chosen.randrange(4)]) if kind.startswith("stream") else messages[0]
    stub = getattr(channel, kind)(method)
    call = (stub if kind.endswith("stream") else stub.future)(request, timeout=timeout, metadata=metadata[: chosen.randrange(4)])
    if hasty and chosen.random() < 0.3:
        call.cancel()
    return call, kind.endswith("stream")


@pytest.mark.parametrize("hasty", [False, True], ids=["patient", "hasty"])
@pytest.mark.parametrize("stack", STACKS)
def test_any_rpcs(
    stack: str,
    hasty: bool,
    capture_tts: Capture,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    """Where no caller leaves, each status is the client's; where some leave at any moment, none that arrived is missing."""
    caplog.set_level(logging.CRITICAL)  # grpc writes the traceback of each exception
    telemetry = capture_tts.telemetry(clock=SystemClock())
    arrivals: Any = AsyncArrivals() if stack == "aio" else Arrivals()
    handlers = (AsyncHandlers if stack == "aio" else Handlers)(telemetry)
    methods = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(handlers, kind), request_deserializer=deserialize)
        for kind in KINDS
    }
    service = grpc.method_handlers_generic_handler("test.Speech", methods)
    options = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT)]
    chosen = random.Random(f"{stack} {hasty}")
    codes: Counter[str] = Counter()
    with STACKS[stack](telemetry, service, before=[arrivals], options=options) as port, connect(port) as channel:
        for first in range(0, RPCS, AT_ONCE):
            for rpc, streams in [start(channel, chosen, hasty=hasty) for _ in range(min(AT_ONCE, RPCS - first))]:
                with suppress(grpc.RpcError, grpc.FutureCancelledError):
                    list(rpc) if streams else rpc.result()
                codes[rpc.code().name] += 1

        def counted() -> Counter[str]:
            counts: Counter[str] = Counter()
            for attributes, count in capture_tts.metrics().get("rpc.server.call.duration", []):
                counts[attributes["rpc.response.status_code"]] += int(count)
            return counts

        wait_for(lambda: counted().total() >= arrivals.count)
    given = counted()
    record_property("hostile inputs: RPCs", codes.total())
    assert given.total() == arrivals.count
    if not hasty:
        if (
            stack == "sync"
        ):  # of a request that is too large, grpc tells only that none came: it counts as one that its caller left
            for counts in (codes, given):
                counts["CANCELLED"] += counts.pop("RESOURCE_EXHAUSTED", 0)
        assert +given == +codes
    wait_for(lambda: capture_tts.total("tts.synthesis.active") == 0)
    assert capture_tts.total("tts.synthesis.requests") == len(capture_tts.syntheses())
