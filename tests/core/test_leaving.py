"""Attempts and requests that are left by what no engine raised: a listener who hangs up, a fault of the service, a time limit around."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, ClientSession, web
from opentelemetry.context import attach, detach, set_value
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from otel_tts import Attempt, Synthesis
from otel_tts.core import outcome
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, points, tone

CHUNK = tone(0.1)
_OF_SERVERS = (
    ("uvicorn.protocols.utils", "ClientDisconnected"),
    ("tornado.iostream", "StreamClosedError"),
    ("tornado.websocket", "WebSocketClosedError"),
    ("sanic.exceptions", "WebsocketClosed"),
)


def _of_servers() -> Iterator[Exception]:
    """The exceptions of the servers that are installed."""
    for module, name in _OF_SERVERS:
        if find_spec(module.partition(".")[0]):
            yield getattr(import_module(module), name)()


DEPARTURES = (
    BrokenPipeError(),
    ConnectionResetError(),
    ConnectionAbortedError(),
    ConnectionClosedOK(None, None),
    ConnectionClosedError(None, None),
    ClientConnectionResetError(),
    WebSocketDisconnect(1001),
    ConnectionClosedOK(Close(1001, ""), Close(1001, ""), rcvd_then_sent=True),
    *_of_servers(),
)
ENDED = (
    WebSocketDisconnect(1012),
    ConnectionClosedError(None, Close(1001, "")),
    ConnectionClosedOK(Close(1001, ""), Close(1001, ""), rcvd_then_sent=False),
    ConnectionClosedError(None, Close(1012, "")),
)
"""A server that stops has closed the WebSocket itself."""
FAULTS = (ValueError("a fault of the service"), KeyError("x"), TimeoutError(), RuntimeError(), ConnectionRefusedError())


async def engine(chunks: int = 4) -> AsyncIterator[bytes]:
    """An engine that gives so many chunks."""
    for _ in range(chunks):
        yield CHUNK


async def _silent() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield CHUNK


async def _stuck() -> AsyncIterator[bytes]:
    yield CHUNK
    await asyncio.Event().wait()


def _sync_attempt(synthesis: Synthesis, error: Exception, at: int) -> None:
    with synthesis, synthesis.attempt("e") as attempt:
        for number, _ in enumerate(attempt.stream(iter([CHUNK] * 4), FORMAT)):
            if number == at:
                raise error


def _sync_request(synthesis: Synthesis, error: Exception, at: int) -> None:
    with synthesis:
        for number, _ in enumerate(synthesis.stream(iter([CHUNK] * 4), "e", audio=FORMAT)):
            if number == at:
                raise error


def _sync_no_block_of_an_attempt(synthesis: Synthesis, error: Exception, at: int) -> None:
    with synthesis:
        for number, _ in enumerate(synthesis.attempt("e").stream(iter([CHUNK] * 4), FORMAT)):
            if number == at:
                raise error


def _async_attempt(synthesis: Synthesis, error: Exception, at: int) -> None:
    async def speak() -> None:
        number = 0
        async with synthesis, synthesis.attempt("e") as attempt:
            async for _ in attempt.stream(engine(), FORMAT):
                if number == at:
                    raise error
                number += 1

    asyncio.run(speak())


def _async_request(synthesis: Synthesis, error: Exception, at: int) -> None:
    async def speak() -> None:
        number = 0
        async with synthesis:
            async for _ in synthesis.stream(engine(), "e", audio=FORMAT):
                if number == at:
                    raise error
                number += 1

    asyncio.run(speak())


def _after_the_stream(synthesis: Synthesis, error: Exception, at: int) -> None:
    with synthesis, synthesis.attempt("e") as attempt:
        for _ in attempt.stream(iter([CHUNK] * (at + 1)), FORMAT):
            pass
        raise error


def _whole(synthesis: Synthesis, error: Exception, at: int) -> None:
    with synthesis, synthesis.attempt("e") as attempt:
        attempt.audio(CHUNK * (at + 1), FORMAT)
        raise error


WAYS = (
    _sync_attempt,
    _sync_request,
    _sync_no_block_of_an_attempt,
    _async_attempt,
    _async_request,
    _after_the_stream,
    _whole,
)


def attempts_of(capture: Capture) -> list[tuple[Any, ...]]:
    """The attempts by their beginning: provider, reason, outcome, type of error, reason of a cancel."""
    keys = ("gen_ai.provider.name", "tts.attempt.reason", "tts.outcome", "error.type", "tts.cancel.reason")
    spans = [span for span in capture.spans if span.name.startswith("text_to_speech")]
    spans.sort(key=lambda span: span.start_time or 0)
    return [tuple((span.attributes or {}).get(key) for key in keys) for span in spans]


def blamed(capture: Capture) -> bool:
    """Whether a metric of attempts says that a provider failed."""
    points = capture.points("tts.attempt.duration")
    return any((point.attributes or {})["tts.outcome"] not in ("ok", "cancelled") for point in points)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_listener_who_hangs_up_has_one_outcome_however_the_loop_is_written(
    capture_tts: Capture, way: Callable[[Synthesis, Exception, int], None]
) -> None:
    """What breaks while audio is sent means that the caller left, and nothing of the provider: each exception, at each chunk."""
    tts = capture_tts.telemetry()
    for error, at in itertools.product(DEPARTURES, range(4)):
        synthesis = tts.synthesis(TEXT, stream=way is not _whole)
        with suppress(type(error)):
            way(synthesis, error, at)
        assert synthesis.outcome == "cancelled", (error, at)
    assert {(outcome, reason) for _, _, outcome, _, reason in attempts_of(capture_tts)} <= {("cancelled", "caller"), ("ok", None)}
    assert len(attempts_of(capture_tts)) == len(DEPARTURES) * 4
    assert not blamed(capture_tts)
    assert not capture_tts.points("tts.provider.available")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_server_that_stops_is_no_listener_who_leaves(
    capture_tts: Capture, way: Callable[[Synthesis, Exception, int], None]
) -> None:
    """Where the server itself closed the WebSocket, the service stopped the request: each exception, at each chunk."""
    tts = capture_tts.telemetry()
    for error, at in itertools.product(ENDED, range(4)):
        synthesis = tts.synthesis(TEXT, stream=way is not _whole)
        with suppress(type(error)):
            way(synthesis, error, at)
        assert synthesis.outcome in ("error", "partial"), (error, at)
    endings = [(ended["error.type"], ended["tts.cancel.reason"]) for ended in capture_tts.syntheses()]
    assert endings == [("shutdown", "stopped")] * len(ENDED) * 4
    assert not blamed(capture_tts)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_fault_of_the_service_is_none_of_the_provider(
    capture_tts: Capture, way: Callable[[Synthesis, Exception, int], None]
) -> None:
    """The request fails by an exception of the code that takes the audio; the provider has done nothing wrong."""
    tts = capture_tts.telemetry()
    for error, at in itertools.product(FAULTS, range(4)):
        synthesis = tts.synthesis(TEXT, stream=way is not _whole)
        with suppress(type(error)):
            way(synthesis, error, at)
        assert synthesis.outcome in ("error", "partial"), (error, at)
    assert not blamed(capture_tts)
    assert not capture_tts.points("tts.provider.available")


def test_a_fault_that_the_service_catches_is_still_its_own(capture_tts: Capture) -> None:
    """Between the blocks of attempt and request, a fault is caught: the request has failed, a listener who left has left."""
    tts = capture_tts.telemetry()
    for error, expected in ((ValueError(), "partial"), (BrokenPipeError(), "cancelled")):
        with tts.synthesis(TEXT, stream=True) as synthesis, suppress(type(error)), synthesis.attempt("e") as attempt:
            for _ in attempt.stream(iter([CHUNK] * 4), FORMAT):
                raise error
        assert synthesis.outcome == expected
    assert [attempt[2:] for attempt in attempts_of(capture_tts)] == [
        ("cancelled", None, "stopped"),
        ("cancelled", None, "caller"),
    ]


@pytest.mark.parametrize("error", [*DEPARTURES[:2], *FAULTS], ids=repr)
@pytest.mark.parametrize("place", ["before", "engine", "wrapped", "reported"])
def test_what_the_engine_raises_or_the_application_reports_is_a_failure_of_the_provider(
    capture_tts: Capture, error: Exception, place: str
) -> None:
    """The same exceptions count against the provider where its stream raises them, before its audio, and where `fail` says so."""

    def chunks() -> Iterator[bytes]:
        yield CHUNK
        raise error

    with (
        suppress(Exception),
        capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis,
        synthesis.attempt("e") as attempt,
    ):
        if place == "before":
            raise error
        if place == "reported":
            attempt.audio(CHUNK, FORMAT)
            attempt.fail(error)
            raise error
        try:
            for _ in attempt.stream(chunks(), FORMAT):
                pass
        except type(error) as first:
            if place == "wrapped":
                raise LookupError from first
            raise
    assert synthesis.outcome in ("error", "partial")
    assert attempts_of(capture_tts)[0][2] in ("error", "partial")
    assert blamed(capture_tts)


@pytest.mark.parametrize("provider", ["e", "f"])
@pytest.mark.parametrize("error", [*DEPARTURES[:1], *FAULTS], ids=repr)
@pytest.mark.parametrize("whole", [True, False])
def test_an_attempt_that_the_request_goes_on_without_has_failed(
    capture_tts: Capture, error: Exception, whole: bool, provider: str
) -> None:
    """An application that rejects audio by an exception and calls an engine again has given the first attempt up."""
    with capture_tts.telemetry().synthesis(TEXT, stream=not whole) as synthesis:
        with suppress(type(error)), synthesis.attempt("e") as attempt:
            if whole:
                attempt.audio(CHUNK, FORMAT)
                raise error
            for _ in attempt.stream(iter([CHUNK] * 2), FORMAT):
                raise error
        with synthesis.attempt(provider) as attempt:
            attempt.audio(HALF, FORMAT)
    first, second = attempts_of(capture_tts)
    kind = "timeout" if isinstance(error, TimeoutError) else "connection" if isinstance(error, ConnectionError) else "_OTHER"
    assert first[2:4] == ("error" if whole else "partial", kind)
    assert second[1:3] == ("retry" if provider == "e" else "fallback", "ok")
    assert synthesis.outcome == "ok"
    assert bool(capture_tts.points("tts.provider.fallbacks")) == (provider == "f")


async def _limit_inside(synthesis: Synthesis, chunks: AsyncIterator[bytes]) -> None:
    async with synthesis.attempt("e") as attempt, asyncio.timeout(0.001):
        async for _ in attempt.stream(chunks, FORMAT):
            pass


async def _limit_around(synthesis: Synthesis, chunks: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(0.001), synthesis.attempt("e") as attempt:
        async for _ in attempt.stream(chunks, FORMAT):
            pass


async def _limit_around_a_task(synthesis: Synthesis, chunks: AsyncIterator[bytes]) -> None:
    async def speak() -> None:
        async with synthesis.attempt("e") as attempt:
            async for _ in attempt.stream(chunks, FORMAT):
                pass

    await asyncio.wait_for(speak(), 0.001)


async def _limit_without_a_block(synthesis: Synthesis, chunks: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(0.001):
        async for _ in synthesis.attempt("e").stream(chunks, FORMAT):
            pass


async def _limit_of_the_first_chunk(synthesis: Synthesis, chunks: AsyncIterator[bytes]) -> None:
    await asyncio.wait_for(anext(synthesis.attempt("e").stream(chunks, FORMAT)), 0.001)


LIMITS = (_limit_inside, _limit_around, _limit_around_a_task, _limit_without_a_block, _limit_of_the_first_chunk)
Limited = Callable[[Synthesis, AsyncIterator[bytes]], Awaitable[None]]


@pytest.mark.parametrize("limited", LIMITS, ids=lambda limited: limited.__name__)
def test_an_engine_that_is_given_up_for_another_one_has_failed(capture_tts: Capture, limited: Limited) -> None:
    """Wherever the time limit stands: the attempt failed with `timeout`, the next one is a fallback, and the provider goes down."""
    tts = capture_tts.telemetry()

    async def speak() -> Synthesis:
        async with tts.synthesis(TEXT, stream=True) as synthesis:
            with suppress(TimeoutError):
                await limited(synthesis, _silent())
            async for _ in synthesis.attempt("f").stream(engine(), FORMAT):
                pass
        return synthesis

    for _ in range(3):
        assert asyncio.run(speak()).outcome == "ok"
    assert attempts_of(capture_tts) == [("e", "initial", "error", "timeout", None), ("f", "fallback", "ok", None, None)] * 3
    pictures = points(capture_tts)
    assert [value for _, value in pictures["tts.provider.fallbacks"]] == [3]
    assert [(dict(key)["gen_ai.provider.name"], value) for key, value in pictures["tts.provider.available"]] == [
        ("e", 0),
        ("f", 1),
    ]


@pytest.mark.parametrize("limited", LIMITS[1:4], ids=lambda limited: limited.__name__)
@pytest.mark.parametrize("again", [True, False])
def test_a_cancelled_attempt_is_no_failure_unless_another_provider_is_called(
    capture_tts: Capture, limited: Limited, again: bool
) -> None:
    """A caller who leaves, and a sentence that is cut off before the next one of the same engine, say nothing about the provider."""
    tts = capture_tts.telemetry()

    async def speak() -> None:
        async with tts.synthesis(TEXT, stream=True) as synthesis:
            with suppress(TimeoutError):
                await limited(synthesis, _stuck() if again else _silent())
            if again:
                async for _ in synthesis.attempt("e").stream(engine(), FORMAT):
                    pass

    asyncio.run(speak())
    assert attempts_of(capture_tts)[0] == ("e", "initial", "cancelled", None, "caller")
    assert not blamed(capture_tts)


def test_a_request_that_is_dropped_after_an_undecided_attempt_ends(capture_tts: Capture) -> None:
    """Nothing that waits for a decision keeps a request from its end, also without a garbage collection."""

    async def speak() -> None:
        with suppress(TimeoutError):
            await _limit_around(capture_tts.telemetry().synthesis(TEXT, stream=True), _silent())

    asyncio.run(speak())
    assert attempts_of(capture_tts) == [("e", "initial", "cancelled", None, "caller")]
    assert capture_tts.synthesis().outcome == "cancelled"


@pytest.mark.parametrize(
    ("chunks", "taken", "outcome"), [([CHUNK] * 3, 1, "cancelled"), ([CHUNK] * 3, 3, "cancelled"), ([CHUNK, CHUNK, b""], 3, "ok")]
)
@pytest.mark.parametrize("closes", [True, False])
def test_a_stream_that_is_left_is_cancelled_in_the_block_of_an_attempt_too(
    capture_tts: Capture, chunks: list[bytes], taken: int, outcome: str, closes: bool
) -> None:
    """Leaving a loop without an exception is leaving; a chunk without audio is the engine's own mark of its end."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis, synthesis.attempt("e") as attempt:
        stream = attempt.stream(iter(chunks), FORMAT)
        for _ in range(taken):
            next(stream)
        if closes:
            stream.close()
    assert (synthesis.outcome, attempts_of(capture_tts)[0][2]) == (outcome, outcome)


async def _speak(attempt: Attempt, send: Callable[[bytes], Awaitable[Any]]) -> None:
    """Send audio for as long as a listener takes it."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield CHUNK

    async for chunk in attempt.stream(endless(), FORMAT):
        await send(chunk)


def test_servers_of_sockets_websockets_and_aiohttp_report_listeners_who_hang_up(capture_tts: Capture) -> None:
    """Real servers, whose listeners go after the first audio: each is a caller who left, and no provider failed."""
    tts, ended = capture_tts.telemetry(), asyncio.Queue[None]()

    async def speak(send: Callable[[bytes], Awaitable[Any]]) -> None:
        try:
            async with tts.synthesis(TEXT, stream=True) as synthesis, synthesis.attempt("e") as attempt:
                await _speak(attempt, send)
        finally:
            ended.put_nowait(None)

    async def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(chunk: bytes) -> None:
            writer.write(chunk)
            await writer.drain()

        with suppress(ConnectionError):
            await speak(send)
        writer.close()

    async def on_websocket(websocket: ServerConnection) -> None:
        with suppress(ConnectionClosedOK, ConnectionClosedError):
            await speak(websocket.send)

    async def on_request(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            await speak(response.write)
        return response

    async def listeners() -> None:
        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.readexactly(len(CHUNK))
        writer.transport.abort()
        await ended.get()
        server.close()
        async with serve(on_websocket, "127.0.0.1", 0) as websockets:
            async with connect(f"ws://127.0.0.1:{websockets.sockets[0].getsockname()[1]}") as websocket:
                await websocket.recv()
            await ended.get()
        application = web.Application()
        application.router.add_get("/", on_request)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as response:
            await response.content.readexactly(len(CHUNK))
            response.close()
        await ended.get()
        await runner.cleanup()

    asyncio.run(listeners())
    assert attempts_of(capture_tts) == [("e", "initial", "cancelled", None, "caller")] * 3
    assert {(p.attributes or {})["tts.outcome"] for p in capture_tts.points("tts.synthesis.duration")} == {"cancelled"}


@pytest.mark.parametrize(("stream", "outcome"), [(True, "cancelled"), (False, "ok")])
def test_a_block_that_took_what_it_wanted(capture_tts: Capture, stream: bool, outcome: str) -> None:
    """Where nobody is sent the pieces, a program that collects them and stops reading has its audio."""
    with capture_tts.telemetry().synthesis(TEXT, stream=stream) as s, s.attempt("e") as attempt:
        for _ in attempt.stream([CHUNK] * 3, FORMAT):
            break
    view = capture_tts.synthesis()
    assert (view.outcome, view.attempts[0].outcome) == (outcome, outcome)


class _Rpc(Call):
    """An RPC whose handler has set a status."""

    set_status: str | None = None

    def status(self) -> str | None:
        """Return it."""
        return self.set_status


@pytest.mark.parametrize(
    ("status", "error", "has_audio", "expected"),
    [
        (None, ValueError(), True, ("cancelled", None, "stopped")),
        ("OK", ValueError(), True, ("cancelled", None, "stopped")),
        ("INVALID_ARGUMENT", ValueError(), True, ("error", "_OTHER", None)),
        ("INVALID_ARGUMENT", TimeoutError(), True, ("cancelled", None, "stopped")),
        ("OK", ValueError(), False, ("error", "_OTHER", None)),
        ("INVALID_ARGUMENT", ValueError(), False, ("rejected", "invalid_input", None)),
        (None, None, False, ("ok", None, None)),
        ("OK", None, False, ("ok", None, None)),
        ("INVALID_ARGUMENT", None, False, ("rejected", "invalid_input", None)),
    ],
)
def test_the_status_that_a_handler_has_set_says_more_than_its_exception(
    capture_tts: Capture, status: str | None, error: Exception | None, has_audio: bool, expected: tuple[Any, ...]
) -> None:
    """Where the exception itself says nothing, and the status is not that of success."""
    tts = capture_tts.telemetry()
    call = _Rpc(RequestClock(tts.emitter.clock))
    token = attach(set_value(CALL, call))
    with suppress(Exception), tts.synthesis(TEXT) as synthesis, synthesis.attempt("e") as attempt:
        if has_audio:
            attempt.audio(CHUNK, FORMAT)
        call.set_status = status
        if error is not None:
            raise error
    detach(token)
    call.end(status or "UNKNOWN", error=error)
    assert attempts_of(capture_tts)[0][2:] == expected


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError(), None])
def test_a_probe_has_no_request_that_explains_it(capture_tts: Capture, error: BaseException | None) -> None:
    """What leaves its block is its outcome; without audio and without an exception it is `ok`."""
    with suppress(ValueError, asyncio.CancelledError), capture_tts.telemetry().probe("e") as attempt:
        if error is not None:
            attempt.audio(CHUNK, FORMAT)
            raise error
    expected = {ValueError: "error", asyncio.CancelledError: "cancelled"}.get(type(error), "ok")  # type: ignore[arg-type]
    assert attempts_of(capture_tts)[0][1:3] == ("probe", expected)


@pytest.mark.parametrize("cut", ["interrupt", "fail", "nothing"])
def test_what_the_application_has_stated_before_decides(capture_tts: Capture, cut: str) -> None:
    """An exception after an interruption or a stated failure gives nobody up, also where another attempt follows."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        with suppress(ValueError), synthesis.attempt("e") as attempt:
            for _ in attempt.stream(iter([CHUNK] * 3), FORMAT):
                if cut == "interrupt":
                    synthesis.interrupt()
                if cut == "fail":
                    synthesis.fail(error_type="queue_full")
                raise ValueError
        list(synthesis.attempt("f").stream(iter([CHUNK]), FORMAT))
    expected = {
        "interrupt": ("cancelled", None, "interrupted"),
        "fail": ("partial", "queue_full", None),
        "nothing": ("partial", "_OTHER", None),
    }
    assert attempts_of(capture_tts)[0][2:] == expected[cut]


def test_a_provider_that_says_that_it_was_cancelled_did_not_time_out(capture_tts: Capture) -> None:
    """Its own exception, before any audio, is no time limit of the application."""
    with capture_tts.telemetry().synthesis(TEXT) as synthesis:
        with suppress(WebSocketDisconnect), synthesis.attempt("e"):
            raise WebSocketDisconnect(1001)
        with synthesis.attempt("f") as attempt:
            attempt.audio(HALF, FORMAT)
    assert [attempt[1:4] for attempt in attempts_of(capture_tts)] == [("initial", "cancelled", None), ("fallback", "ok", None)]


@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()])
def test_the_end_of_the_service_is_its_own_failure(capture_tts: Capture, error: BaseException, has_audio: bool) -> None:
    """The attempt was stopped, before its audio or after; the request failed with `shutdown`."""
    with suppress(SystemExit, KeyboardInterrupt), capture_tts.telemetry().synthesis(TEXT) as s, s.attempt("e") as attempt:
        if has_audio:
            attempt.audio(CHUNK, FORMAT)
        raise error
    assert attempts_of(capture_tts)[0][2:] == ("cancelled", None, "stopped")
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == ("error", "shutdown")


@pytest.mark.parametrize("limited", LIMITS, ids=lambda limited: limited.__name__)
def test_an_engine_that_hangs_and_is_asked_once_more_has_failed(capture_tts: Capture, limited: Limited) -> None:
    """Without any audio it was not cut off: the second call of the same engine is a retry."""

    async def speak() -> None:
        async with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
            with suppress(TimeoutError):
                await limited(synthesis, _silent())
            async for _ in synthesis.attempt("e").stream(engine(), FORMAT):
                pass

    asyncio.run(speak())
    assert attempts_of(capture_tts) == [("e", "initial", "error", "timeout", None), ("e", "retry", "ok", None, None)]


@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize(
    ("status", "ended"), [("CANCELLED", outcome.CANCELLED), ("DEADLINE_EXCEEDED", outcome.DEADLINE), ("OK", None)]
)
def test_what_is_raised_after_its_rpc_has_ended(
    capture_tts: Capture, status: str, ended: outcome.Cause | None, has_audio: bool
) -> None:
    """Where nobody waits any more, an exception in the block of an attempt says only that; else it is what it always is."""
    tts = capture_tts.telemetry()
    call = _Rpc(RequestClock(tts.emitter.clock))
    token = attach(set_value(CALL, call))
    with suppress(ValueError), tts.synthesis(TEXT, stream=True) as synthesis, synthesis.attempt("e") as attempt:
        if has_audio:
            next(attempt.stream(iter([CHUNK] * 3), FORMAT))
        call.end(status, interruption=ended)
        raise ValueError
    detach(token)
    if ended is not None:
        assert attempts_of(capture_tts)[0][2:] == (
            ended.outcome,
            ended.error_type,
            "caller" if ended == outcome.CANCELLED else None,
        )
    else:
        assert attempts_of(capture_tts)[0][2:] == (("cancelled", None, "stopped") if has_audio else ("error", "_OTHER", None))


@pytest.mark.parametrize("limited", LIMITS[:4], ids=lambda limited: limited.__name__)
def test_an_engine_that_falls_silent_and_is_given_up_for_another_one_has_failed(capture_tts: Capture, limited: Limited) -> None:
    """After some of its audio, too: another provider shows that it was given up, not cut off by its listener."""

    async def speak() -> None:
        async with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
            with suppress(TimeoutError):
                await limited(synthesis, _stuck())
            async for _ in synthesis.attempt("f").stream(engine(), FORMAT):
                pass

    asyncio.run(speak())
    assert attempts_of(capture_tts) == [("e", "initial", "partial", "timeout", None), ("f", "fallback", "ok", None, None)]


@pytest.mark.parametrize("in_a_block", [True, False])
def test_what_an_engine_raises_after_an_interruption_is_no_failure(capture_tts: Capture, in_a_block: bool) -> None:
    """Nobody wants its audio any more, so that its stream may end as it likes."""

    def chunks() -> Iterator[bytes]:
        yield CHUNK
        raise ConnectionResetError

    with suppress(ConnectionResetError), capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        attempt = synthesis.attempt("e")
        with attempt if in_a_block else nullcontext():
            for _ in attempt.stream(chunks(), FORMAT):
                synthesis.interrupt()
    assert attempts_of(capture_tts)[0][2:] == ("cancelled", None, "interrupted")
    assert not blamed(capture_tts)
