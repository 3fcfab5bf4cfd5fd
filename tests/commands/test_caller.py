"""What a caller notes of each way in which a call can end, at a service whose engine does as it is told."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import grpc
import pytest

from otel_tts.commands.load.caller import Reply, calling, exchange
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify.account import outcome
from otel_tts.core.clock import SystemClock
from otel_tts.semconv import CacheResult, Outcome
from otel_tts.service import ServiceConfig, serve
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.testing.capture import Capture
from tests.service.conftest import Scripted, Step

BY = ("scripted", "scripted-model", False)  # what an answer says of its audio
HELLO = tts_pb2.SynthesizeRequest(text="Hello.")
MISS, HIT = CacheResult.MISS, CacheResult.HIT
FOREVER = None  # in a script: nothing more comes


@pytest.mark.parametrize(
    ("script", "planned", "reply", "knowable"),
    [
        ((Scripted.SECOND,), Planned(HELLO, stream=False), Reply("OK", True, 1.0, 1, MISS, *BY, "WAV"), Outcome.OK),
        ((Scripted.SECOND,) * 2, Planned(HELLO, stream=True), Reply("OK", True, 2.0, 2, MISS, *BY, "PCM"), Outcome.OK),
        (
            (Scripted.SECOND, OSError()),
            Planned(HELLO, stream=True),
            Reply("UNAVAILABLE", True, 1.0, 1, MISS, *BY, "PCM"),
            Outcome.PARTIAL,
        ),
        ((OSError(),), Planned(HELLO, stream=True), Reply("UNAVAILABLE", True), Outcome.ERROR),
        ((b"",), Planned(HELLO, stream=False), Reply("INTERNAL", True), None),
        ((Scripted.SECOND, FOREVER), Planned(HELLO, stream=True, hangs_up=True), Reply("CANCELLED", False, 0, 1), None),
        ((FOREVER,), Planned(HELLO, stream=False, patience_s=0.2), Reply("DEADLINE_EXCEEDED", False), None),
    ],
    ids=["whole", "stream", "broken off", "failed", "no audio", "hung up", "impatient"],
)
async def test_how_a_call_ends(
    script: tuple[Step | None, ...], planned: Planned, reply: Reply, knowable: Outcome | None, capture_tts: Capture
) -> None:
    """The status, whose it is, the audio that came, and what the service must have counted, where that can be known."""
    config = ServiceConfig.load({}, port=0, probe_interval=0.0, stop_grace=0.0)
    telemetry = capture_tts.telemetry(clock=SystemClock())
    engine = Scripted("scripted", *(asyncio.Event() if step is FOREVER else step for step in script))
    async with serve(config, telemetry, providers=[engine]) as service, calling(service.address) as caller:
        check_reply = await caller.call(planned)
        assert (check_reply, outcome(check_reply)) == (reply, knowable)
        if reply.code == "OK":
            assert await caller.call(planned) == replace(reply, cache=HIT, chunks=1)


async def test_nobody_there_is_no_answer() -> None:
    """A refused connection is this side's word, not a service's."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = f"127.0.0.1:{closed.getsockname()[1]}"
    async with calling(target) as caller:
        assert await caller.call(Planned(HELLO, stream=True)) == Reply("UNAVAILABLE", False)
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.voices()


async def test_no_more_at_once_than_asked_for(capture_tts: Capture) -> None:
    """Twelve calls, three at once: all are made, and never more than three are under way."""
    engine = Scripted(concurrency=12)
    most = 0

    def check_reply(planned: Planned, reply: Reply) -> None:
        nonlocal most
        most = max(most, engine.active)

    config = ServiceConfig.load({}, port=0, cache=(), probe_interval=0.0, stop_grace=0.0)
    telemetry = capture_tts.telemetry(clock=SystemClock())
    async with serve(config, telemetry, providers=[engine]) as service, calling(service.address) as caller:
        planned = Planned(tts_pb2.SynthesizeRequest(text="Hello.", no_cache=True), stream=True)
        await exchange(caller, [planned] * 12, check_reply, concurrency=3)
    assert len(engine.calls) == 12
    assert most <= 3
