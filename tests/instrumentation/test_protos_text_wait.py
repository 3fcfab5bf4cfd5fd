"""Handlers of known protos that read all of a streamed text before they speak: the wait for its end is the caller's, not the engine's."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_tts import PCM16, Telemetry
from otel_tts.grpc import aio_server_interceptor, server_interceptor
from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from otel_tts.testing.views import SynthesisView
from tests.grpc.servers import STACKS, wait_for
from tests.grpc.test_text_wait import WAITS_S, AsyncNetwork, Network
from tests.instrumentation.known_rpcs import RPCS
from tests.instrumentation.proto_servers import RATE, call, service

RPC = RPCS["google streaming"]  # the configuration, and text in two messages
RESPONSE = type(RPC.responses[0])
SECOND = b"\x00\x10" * RATE
WORK_S = 0.25
END_S = WAITS_S[3]
"""Seconds from the last message until the caller has sent everything; the second text is there with the first."""


class Handlers:
    """Each reads to the end and then speaks. ``advance`` is the engine's work."""

    def __init__(self, telemetry: Telemetry, advance: Callable[[float], object]) -> None:
        self.telemetry = telemetry
        self.advance = advance

    def work(self) -> Iterator[bytes]:
        for _ in range(2):
            self.advance(WORK_S)
            yield SECOND

    def speak(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """An observed engine that takes its text from the requests."""

        def engine() -> Iterator[bytes]:
            list(requests)
            yield from self.work()

        for chunk in self.telemetry.synthesis(stream=True).stream(engine(), "piper", "joe", audio=PCM16(RATE)):
            yield RESPONSE(audio_content=chunk)

    async def speak_async(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async def engine() -> AsyncIterator[bytes]:
            async for _ in requests:
                pass
            for chunk in self.work():
                yield chunk

        async for chunk in self.telemetry.synthesis(stream=True).stream(engine(), "piper", "joe", audio=PCM16(RATE)):
            yield RESPONSE(audio_content=chunk)

    async def read(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async def engine() -> AsyncIterator[bytes]:
            while await context.read() is not grpc.aio.EOF:
                pass
            for chunk in self.work():
                yield chunk

        async for chunk in self.telemetry.synthesis(stream=True).stream(engine(), "piper", "joe", audio=PCM16(RATE)):
            yield RESPONSE(audio_content=chunk)

    def ahead(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """A thread that reads beside the engine, which has begun to work, keeps it from nothing."""

        def engine() -> Iterator[bytes]:
            next(requests)
            next(requests)
            reader = threading.Thread(target=list, args=(requests,))
            reader.start()
            reader.join()
            yield from self.work()

        for chunk in self.telemetry.synthesis(stream=True).stream(engine(), "piper", "joe", audio=PCM16(RATE)):
            yield RESPONSE(audio_content=chunk)

    def held_back(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Without telemetry: the first text at once, the rest when the caller has sent everything."""
        work = self.work()
        next(requests)
        next(requests)
        yield RESPONSE(audio_content=next(work))
        list(requests)
        yield RESPONSE(audio_content=next(work))

    async def held_back_async(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        work = self.work()
        await anext(requests)
        await anext(requests)
        yield RESPONSE(audio_content=next(work))
        async for _ in requests:
            pass
        yield RESPONSE(audio_content=next(work))


def synthesis(capture: Capture, stack: str, name: str) -> SynthesisView:
    """The request to speak of one RPC that such a handler serves."""
    advance = capture.clock.advance
    telemetry = capture.telemetry()
    network, interceptor = (AsyncNetwork, aio_server_interceptor) if stack == "aio" else (Network, server_interceptor)
    before = [network(advance), interceptor(telemetry, mapping=protos.load())]
    behavior = getattr(Handlers(telemetry, advance), name)
    served = service(RPC.method, behavior, type(RPC.requests[0]), request_streaming=True, response_streaming=True)
    with STACKS[stack](None, served, before=before) as port:
        status, responses = call(port, RPC.method, RPC.requests, RESPONSE, request_streaming=True, response_streaming=True)
        assert (status, len(responses)) == (grpc.StatusCode.OK, 2)
        wait_for(capture.syntheses)
    return capture.synthesis(outcome="ok")


@pytest.mark.parametrize(("stack", "name"), [("sync", "speak"), ("aio", "speak_async"), ("aio", "read")])
def test_an_engine_that_waits_for_the_end_of_the_text(stack: str, name: str, capture_tts: Capture) -> None:
    """The wait for the caller's half-close is a wait for text, and no work of the engine."""
    span = synthesis(capture_tts, stack, name)
    assert span["tts.text.length"] == RPC.asked["tts.text.length"]
    assert span["tts.text.wait"] == pytest.approx(END_S)
    assert span.first_byte == pytest.approx(END_S + WORK_S)
    assert span["tts.real_time_factor"] == pytest.approx(WORK_S)


def test_a_thread_that_waits_beside_the_engine(capture_tts: Capture) -> None:
    """The end of the text was waited for, but not in the place in which audio is pulled: all of that time is the engine's."""
    span = synthesis(capture_tts, "sync", "ahead")
    assert span["tts.real_time_factor"] == pytest.approx((2 * WORK_S + END_S) / 2)


@pytest.mark.parametrize(("stack", "name"), [("sync", "held_back"), ("aio", "held_back_async")])
def test_a_server_that_keeps_the_last_text_to_itself(stack: str, name: str, capture_tts: Capture) -> None:
    """Where the player runs dry while the caller has not ended its text, the handler's engine is not to blame."""
    span = synthesis(capture_tts, stack, name)
    assert span["tts.text.wait"] == pytest.approx(END_S)
    assert span["tts.stream.underrun"] == pytest.approx(END_S + WORK_S - 1)
    assert span["tts.underrun.provider"] == 0
