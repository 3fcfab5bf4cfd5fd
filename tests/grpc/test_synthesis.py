"""A Synthesis inside an RPC: the RPC decides its outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from otel_tts import PCM16, Settings, Telemetry
from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture
from tests.grpc.servers import STACKS, connect, speech, wait_for, wait_for_standstill

FORMAT = PCM16(8000)
SECOND = b"\x00\x10" * 8000
"""One second of audible audio."""
Requests = dict[str, int]


class UnavailableError(ConnectionError):
    """What a dead provider raises."""


def settled(capture: Capture, count: int = 1) -> Any:
    """Waits until so many requests and the RPC are over; gives the last request."""
    wait_for(lambda: len(capture.syntheses()) >= count and capture.total("rpc.server.call.duration") == 1)
    assert len(capture.syntheses()) == count
    return capture.syntheses()[-1]


def requests(capture: Capture) -> Requests:
    """The requests by outcome."""
    counted: Requests = {}
    for attributes, count in capture.metrics().get("tts.synthesis.requests", []):
        counted[attributes["tts.outcome"]] = counted.get(attributes["tts.outcome"], 0) + int(count)
    return counted


def errors(capture: Capture) -> list[tuple[str, str]]:
    """The failures: outcome and error type."""
    points = capture.metrics().get("tts.synthesis.failures", [])
    return [(attributes["tts.outcome"], attributes["error.type"]) for attributes, _ in points]


def attempts(capture: Capture) -> list[tuple[str, str | None, int]]:
    """The attempts: outcome, error type, and how many."""
    points = capture.metrics().get("tts.attempt.duration", [])
    return [(attributes["tts.outcome"], attributes.get("error.type"), int(count)) for attributes, count in points]


# Each behaves as a handler might: with the telemetry and the RPC's context. What it gives is awaited by an asynchronous handler.
Act = Callable[[Telemetry, Any], Any]


def refuses_the_input(tts: Telemetry, context: Any) -> Any:
    """Validation, before anybody is asked."""
    with tts.synthesis(text="..."):
        return context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing to say")


def refuses_by_code(tts: Telemetry, context: Any) -> Any:
    """The same, without an exception."""
    with tts.synthesis(text="...", voice="nobody"):
        context.set_code(grpc.StatusCode.NOT_FOUND)


def finds_nobody(tts: Telemetry, context: Any) -> Any:
    """Two providers fail, and so does the request."""
    with tts.synthesis(text="hello") as synthesis:
        for provider in ("piper", "polly"):
            with suppress(UnavailableError), synthesis.attempt(provider):
                raise UnavailableError
        return context.abort(grpc.StatusCode.UNAVAILABLE, "nobody is there")


def says_nothing_of_it(tts: Telemetry, context: Any) -> Any:
    """The provider's failure is swallowed and nothing comes back, with status OK."""
    with tts.synthesis(text="hello") as synthesis, suppress(UnavailableError), synthesis.attempt("piper"):
        raise UnavailableError


def falls_back(tts: Telemetry, context: Any) -> Any:
    """The second provider makes good what the first failed."""
    with tts.synthesis(text="hello") as synthesis:
        with suppress(UnavailableError), synthesis.attempt("polly"):
            raise UnavailableError
        with synthesis.attempt("piper") as attempt:
            attempt.audio(SECOND, FORMAT)


def breaks_afterwards(tts: Telemetry, context: Any) -> Any:
    """All went well, until the handler itself failed."""
    with tts.synthesis(text="hello") as synthesis, synthesis.attempt("piper") as attempt:
        attempt.audio(SECOND, FORMAT)
    raise RuntimeError("a bug")


def has_no_room(tts: Telemetry, context: Any) -> Any:
    """The queue is full."""
    with tts.synthesis(text="hello") as synthesis:
        synthesis.fail(outcome="error", error_type="queue_full")
        return context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "come back later")


def is_quiet(tts: Telemetry, context: Any) -> Any:
    """A provider says success and gives no samples."""
    with tts.synthesis(text="quiet") as synthesis, synthesis.attempt("hibari") as attempt:
        attempt.audio(b"", FORMAT)
    return context.abort(grpc.StatusCode.INTERNAL, "no audio")


DECISIONS: dict[Act, tuple[str, str | None, list[str]]] = {
    # -> the outcome, its error type where it is a failure, the outcomes of the attempts
    refuses_the_input: ("rejected", None, []),
    refuses_by_code: ("rejected", None, []),
    finds_nobody: ("error", "connection", ["error", "error"]),
    says_nothing_of_it: ("error", "connection", ["error"]),
    falls_back: ("ok", None, ["error", "ok"]),
    breaks_afterwards: ("error", "_OTHER", ["ok"]),
    has_no_room: ("error", "queue_full", []),
    is_quiet: ("empty", "no_audio", ["empty"]),
}


@pytest.mark.parametrize("act", DECISIONS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("stack", STACKS)
def test_the_status_and_the_attempts_decide(stack: str, act: Act, capture_tts: Capture) -> None:
    """What the RPC is answered with, and what became of the attempts, makes the outcome, in both servers alike."""
    telemetry = capture_tts.telemetry()

    def unary(request: bytes, context: Any) -> bytes:
        act(telemetry, context)
        return b"."

    async def aunary(request: bytes, context: Any) -> bytes:
        answer = act(telemetry, context)
        if answer is not None:
            await answer
        return b"."

    handlers = speech(unary_unary=aunary if stack == "aio" else unary)
    with STACKS[stack](telemetry, handlers) as port, connect(port) as channel, suppress(grpc.RpcError):
        channel.unary_unary("/test.Speech/unary_unary")(b"a")
    synthesis = settled(capture_tts)
    outcome, error_type, tried = DECISIONS[act]
    assert (synthesis.outcome, [attempt.outcome for attempt in synthesis.attempts]) == (outcome, tried)
    assert requests(capture_tts) == {outcome: 1}
    assert errors(capture_tts) == ([(outcome, error_type)] if error_type else [])
    ((name, _, children),) = capture_tts.tree()
    assert (name, [child[0] for child in children]) == ("test.Speech/unary_unary", ["tts.synthesize"])
    assert capture_tts.total("tts.synthesis.active") == 0


@pytest.mark.parametrize("ending", ["cancelled", "deadline", "rejected"])
def test_a_handler_that_is_still_busy_when_its_caller_is_gone(ending: str, capture_tts: Capture) -> None:
    """A synchronous handler learns of nothing: the request ends with the RPC, the attempt when the engine is done, both once.

    A deadline below the floor was never to be met: the caller's request is refused for it.
    """
    settings = Settings.load({"OTEL_TTS_DEADLINE_FLOOR": "5"} if ending == "rejected" else {})
    telemetry = capture_tts.telemetry(clock=SystemClock(), settings=settings)
    busy, release, done = threading.Event(), threading.Event(), threading.Event()

    def unary(request: bytes, context: Any) -> bytes:
        with telemetry.synthesis(text="hello") as synthesis, synthesis.attempt("piper") as attempt:
            busy.set()
            release.wait(10)
            attempt.audio(SECOND, FORMAT)
        done.set()
        return b"."

    with STACKS["sync"](telemetry, speech(unary_unary=unary)) as port, connect(port) as channel:
        rpc = channel.unary_unary("/test.Speech/unary_unary").future(b"a", timeout=10 if ending == "cancelled" else 0.3)
        assert busy.wait(5)
        if ending == "cancelled":
            rpc.cancel()
        try:
            assert settled(capture_tts).outcome == ending
            assert attempts(capture_tts) == []
        finally:
            release.set()
        assert done.wait(5)
    assert attempts(capture_tts) == [("ok", None, 1)]
    assert requests(capture_tts) == {ending: 1}
    assert [attempt.outcome for attempt in capture_tts.synthesis().attempts] == ["ok"]
    assert {a["tts.characters.state"]: n for a, n in capture_tts.metrics()["tts.synthesis.characters"]} == {"wasted": 5}
    assert {a["tts.audio.state"]: n for a, n in capture_tts.metrics()["tts.synthesis.audio"]} == {"generated": 1.0}
    assert capture_tts.total("tts.synthesis.active") == 0


@pytest.mark.parametrize("ending", ["cancelled", "deadline"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_stream_that_is_cut_off_midway(stack: str, ending: str, capture_tts: Capture) -> None:
    """What was delivered until then is known, and the attempt shares the outcome."""
    telemetry = capture_tts.telemetry(clock=SystemClock())
    release = threading.Event()
    closed = threading.Event()

    def engine() -> Iterator[bytes]:
        try:
            yield SECOND
            yield SECOND
            release.wait(10)
        finally:
            closed.set()

    async def aengine() -> AsyncIterator[bytes]:
        try:
            yield SECOND
            yield SECOND
            await asyncio.sleep(30)
        finally:
            closed.set()

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        yield from telemetry.synthesis(text="hello", stream=True).stream(engine(), "piper", audio=FORMAT)

    async def astream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async for chunk in telemetry.synthesis(text="hello", stream=True).stream(aengine(), "piper", audio=FORMAT):
            yield chunk

    handlers = speech(unary_stream=astream if stack == "aio" else stream)
    with STACKS[stack](telemetry, handlers) as port, connect(port) as channel:
        rpc = channel.unary_stream("/test.Speech/unary_stream")(b"a", timeout=10 if ending == "cancelled" else 0.5)
        assert [next(rpc), next(rpc)] == [SECOND, SECOND]
        if ending == "cancelled":
            rpc.cancel()
        try:
            synthesis = settled(capture_tts)
        finally:
            release.set()
        assert closed.wait(5)
    assert (synthesis.outcome, [attempt.outcome for attempt in synthesis.attempts]) == (ending, [ending])
    assert (synthesis["tts.audio.delivered_duration"], synthesis["tts.stream.chunk.count"]) == (2.0, 2)
    assert requests(capture_tts) == {ending: 1}
    seconds = {a["tts.audio.state"]: n for a, n in capture_tts.metrics()["tts.synthesis.audio"]}
    assert seconds == {"generated": 2.0, "delivered": 2.0}


def test_a_writer_whose_caller_is_gone_does_not_blame_the_provider(capture_tts: Capture) -> None:
    """A coroutine that writes inside its attempt meets grpc's error there, which is the caller's leaving."""
    telemetry = capture_tts.telemetry(clock=SystemClock())
    given: list[int] = []

    async def engine() -> AsyncIterator[bytes]:
        while True:
            given.append(1)
            yield SECOND * 60

    async def handler(request: bytes, context: Any) -> None:
        async with telemetry.synthesis(text="hello", stream=True) as synthesis, synthesis.attempt("piper") as attempt:
            async for chunk in attempt.stream(engine(), FORMAT):
                await context.write(chunk)

    with STACKS["aio"](telemetry, speech(unary_stream=handler)) as port, connect(port) as channel:
        rpc = channel.unary_stream("/test.Speech/unary_stream")(b"a")
        next(rpc)
        wait_for_standstill(lambda: len(given))
        rpc.cancel()
        synthesis = settled(capture_tts)
    assert (synthesis.outcome, [attempt.outcome for attempt in synthesis.attempts]) == ("cancelled", ["cancelled"])
    assert attempts(capture_tts) == [("cancelled", None, 1)]


@pytest.mark.parametrize("stack", STACKS)
def test_two_utterances_in_one_rpc_are_two_requests(stack: str, capture_tts: Capture) -> None:
    """Each is timed from its own beginning, the first from the RPC's; what ends the RPC is said of the last one only."""
    telemetry = capture_tts.telemetry()

    def say(text: str) -> Iterator[bytes]:
        capture_tts.clock.advance(1)
        yield from telemetry.synthesis(text=text, stream=True).stream(iter([SECOND]), "piper", audio=FORMAT)

    def stream(texts: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for text in texts:
            yield from say(text.decode())
        context.set_code(grpc.StatusCode.INTERNAL)

    async def astream(texts: Any, context: Any) -> AsyncIterator[bytes]:
        async for text in texts:
            for chunk in say(text.decode()):
                yield chunk
        context.set_code(grpc.StatusCode.INTERNAL)

    handlers = speech(stream_stream=astream if stack == "aio" else stream)
    with STACKS[stack](telemetry, handlers) as port, connect(port) as channel, suppress(grpc.RpcError):
        list(channel.stream_stream("/test.Speech/stream_stream")(iter([b"one", b"three"])))
    settled(capture_tts, 2)
    first, second = capture_tts.syntheses()
    assert [(s.outcome, s["tts.text.length"], s.first_byte) for s in (first, second)] == [("ok", 3, 1.0), ("partial", 5, 0.0)]
    ((name, _, children),) = capture_tts.tree()
    assert (name, [child[0] for child in children]) == ("test.Speech/stream_stream", ["tts.synthesize"] * 2)
