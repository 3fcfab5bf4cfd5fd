"""A handler that adds the text of its requests as they come waits for the caller, and not for its engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_tts import PCM16, Telemetry
from otel_tts.testing.capture import Capture
from tests.grpc.servers import STACKS, connect, speech, wait_for

RATE = 24_000
FORMAT = PCM16(RATE)
SECOND = b"\x00\x10" * RATE
WORK_S = 0.25
WAITS_S = [2.0, 3.0, 0.0, 1.5]
"""Seconds until a caller's next message comes, and at last until it has sent everything."""
TEXT_WAIT_S = sum(WAITS_S[1:])


class Handlers:
    """Each is a way to give an engine the text that comes with requests. ``advance`` is the engine's work."""

    def __init__(self, telemetry: Telemetry, advance: Callable[[float], object]) -> None:
        self.telemetry = telemetry
        self.advance = advance

    def engine(self, synthesis: Any, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            synthesis.add_text(request.decode())
            self.advance(WORK_S)
            yield SECOND

    async def async_engine(self, synthesis: Any, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            synthesis.add_text(request.decode())
            self.advance(WORK_S)
            yield SECOND

    def speak(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        synthesis = self.telemetry.synthesis(stream=True)
        for chunk in synthesis.stream(self.engine(synthesis, requests), "piper", "joe", audio=FORMAT):
            yield chunk[:2]

    async def speak_async(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        synthesis = self.telemetry.synthesis(stream=True)
        async for chunk in synthesis.stream(self.async_engine(synthesis, requests), "piper", "joe", audio=FORMAT):
            yield chunk[:2]

    def collect(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        with self.telemetry.synthesis(stream=True) as synthesis:
            for request in requests:
                synthesis.add_text(request.decode())
            for chunk in synthesis.stream(self.whole(), "piper", "joe", audio=FORMAT):
                yield chunk[:2]

    def whole(self) -> Iterator[bytes]:
        for _ in WAITS_S[1:]:
            self.advance(WORK_S)
            yield SECOND

    async def read(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async with self.telemetry.synthesis(stream=True) as synthesis:
            while (request := await context.read()) is not grpc.aio.EOF:
                synthesis.add_text(request.decode())
            for chunk in synthesis.stream(self.whole(), "piper", "joe", audio=FORMAT):
                yield chunk[:2]

    def text_from(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        synthesis = self.telemetry.synthesis(stream=True)

        def engine() -> Iterator[bytes]:
            for _ in synthesis.text_from(request.decode() for request in requests):
                self.advance(WORK_S)
                yield SECOND

        for chunk in synthesis.stream(engine(), "piper", "joe", audio=FORMAT):
            yield chunk[:2]

    def each(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """A request to speak for each message: what comes next is no text of the last one."""
        for request in requests:
            with self.telemetry.synthesis(stream=True) as synthesis:
                synthesis.add_text(request.decode())
                for chunk in synthesis.stream([SECOND], "piper", "joe", audio=FORMAT):
                    yield chunk[:2]

    def steered(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """The messages, which a thread reads, say how to speak. The text is the handler's own."""
        synthesis = self.telemetry.synthesis(stream=True)

        def engine() -> Iterator[bytes]:
            for _ in WAITS_S:
                reader = threading.Thread(target=next, args=(requests, None))
                reader.start()
                reader.join()
                synthesis.add_text("One. ")
                yield SECOND

        for chunk in synthesis.stream(engine(), "piper", "joe", audio=FORMAT):
            yield chunk[:2]

    async def steered_async(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """The same in a task."""
        synthesis = self.telemetry.synthesis(stream=True)

        async def read() -> None:
            await anext(requests, None)

        async def engine() -> AsyncIterator[bytes]:
            for _ in WAITS_S:
                await asyncio.create_task(read())
                synthesis.add_text("One. ")
                yield SECOND

        async for chunk in synthesis.stream(engine(), "piper", "joe", audio=FORMAT):
            yield chunk[:2]

    def ahead(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """A thread that reads beside the engine keeps it from nothing."""
        synthesis = self.telemetry.synthesis(stream=True)

        def read() -> None:
            for request in requests:
                synthesis.add_text(request.decode())

        def engine() -> Iterator[bytes]:
            reader = threading.Thread(target=read)
            reader.start()
            reader.join()
            yield SECOND

        for chunk in synthesis.stream(engine(), "piper", "joe", audio=FORMAT):
            yield chunk[:2]


class Slow:
    """A caller's messages, each of which takes as long as ``WAITS_S`` says; or a servicer context from which they are read."""

    def __init__(self, requests: Any, advance: Callable[[float], object]) -> None:
        self._requests = requests
        self._advance = advance
        self._waits_s = iter(WAITS_S)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def __iter__(self) -> Slow:
        return self

    __aiter__ = __iter__

    def __next__(self) -> Any:
        self._advance(next(self._waits_s))
        return next(self._requests)

    async def __anext__(self) -> Any:
        self._advance(next(self._waits_s))
        return await anext(self._requests)

    async def read(self) -> Any:
        self._advance(next(self._waits_s))
        return await self._requests.read()


class Network(grpc.ServerInterceptor):
    """What stands further out than ours, as the network does."""

    def __init__(self, advance: Callable[[float], object]) -> None:
        self.advance = advance

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)

        def behavior(requests: Any, context: Any) -> Any:
            return handler.stream_stream(Slow(requests, self.advance), context)

        return grpc.stream_stream_rpc_method_handler(behavior, handler.request_deserializer, handler.response_serializer)


class AsyncNetwork(grpc.aio.ServerInterceptor):
    """The same, asynchronous."""

    def __init__(self, advance: Callable[[float], object]) -> None:
        self.advance = advance

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)

        async def behavior(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for response in handler.stream_stream(Slow(requests, self.advance), Slow(context, self.advance)):
                yield response

        return grpc.stream_stream_rpc_method_handler(behavior, handler.request_deserializer, handler.response_serializer)


def call(capture: Capture, stack: str, name: str) -> list[Any]:
    """The requests to speak of one RPC that such a handler serves."""
    advance = capture.clock.advance
    telemetry = capture.telemetry()
    network = (AsyncNetwork if stack == "aio" else Network)(advance)
    service = speech(stream_stream=getattr(Handlers(telemetry, advance), name))
    with STACKS[stack](telemetry, service, before=[network]) as port, connect(port) as channel:
        stub = channel.stream_stream("/test.Speech/stream_stream")
        assert list(stub(iter([b"One. ", b"Two. ", b"Three."]), timeout=60))
        return wait_for(capture.syntheses)


@pytest.mark.parametrize(("stack", "name"), [("sync", "speak"), ("aio", "speak_async"), ("sync", "collect"), ("aio", "read")])
def test_text_that_comes_in_messages(stack: str, name: str, capture_tts: Capture) -> None:
    """Whether the engine takes it as it comes or gets all of it: the wait is the caller's, and the engine's work its own."""
    [span] = call(capture_tts, stack, name)
    assert span["tts.text.length"] == len("One. Two. Three.")
    assert span["tts.text.wait"] == pytest.approx(TEXT_WAIT_S)
    assert span["tts.real_time_factor"] == pytest.approx(WORK_S)


def test_a_message_that_begins_another_request(capture_tts: Capture) -> None:
    """It is no text of the request before, which waited for none."""
    call(capture_tts, "sync", "each")
    spans = wait_for(lambda: spans if len(spans := capture_tts.syntheses()) == len(WAITS_S) - 1 else None)
    assert [span["tts.text.wait"] for span in spans] == [0, 0, 0]


def test_messages_that_a_thread_reads_ahead(capture_tts: Capture) -> None:
    """The text was waited for, but not by the engine: its time counts whole."""
    [span] = call(capture_tts, "sync", "ahead")
    assert span["tts.text.wait"] == pytest.approx(TEXT_WAIT_S)
    assert span["tts.real_time_factor"] == pytest.approx(sum(WAITS_S))


@pytest.mark.parametrize(("stack", "name"), [("sync", "steered"), ("aio", "steered_async")])
def test_messages_that_are_not_the_text(stack: str, name: str, capture_tts: Capture) -> None:
    """What another thread or task receives says nothing of the text that is added here: no wait for text is known."""
    [span] = call(capture_tts, stack, name)
    assert span["tts.text.length"] == len("One. ") * len(WAITS_S)
    assert "tts.text.wait" not in span.span.attributes
    assert span["tts.real_time_factor"] == pytest.approx(sum(WAITS_S) / len(WAITS_S))


def test_text_from_the_requests(capture_tts: Capture) -> None:
    """Where the handler says itself where its text comes from, nothing is counted twice."""
    [span] = call(capture_tts, "sync", "text_from")
    assert span["tts.text.wait"] == pytest.approx(TEXT_WAIT_S)
    assert span["tts.real_time_factor"] == pytest.approx(WORK_S)
