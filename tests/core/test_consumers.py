"""What begins in the context of a request that it is not part of: after an interruption, or in the consumer of a generator."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import get_current_span

from otel_tts import Synthesis, Telemetry, semconv
from otel_tts.core.enclosing import enclosing_request
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, HttpError, attempted, rpc

NEXT = "Something else"


async def pieces() -> AsyncIterator[bytes]:
    """An engine."""
    for _ in range(4):
        await asyncio.sleep(0)
        yield HALF


async def in_attempt(s: Synthesis) -> AsyncIterator[bytes]:
    """A streaming service that yields inside the block of its attempt."""
    async with s, s.attempt("piper") as attempt:
        async for piece in attempt.stream(pieces(), FORMAT):
            yield piece


async def in_second_attempt(s: Synthesis) -> AsyncIterator[bytes]:
    """The same, by its fallback."""
    async with s:
        attempted(s, "espeak", ConnectionError())
        async with s.attempt("piper") as attempt:
            async for piece in attempt.stream(pieces(), FORMAT):
                yield piece


async def in_lookup(s: Synthesis) -> AsyncIterator[bytes]:
    """One that yields what a cache had inside the block of the look-up."""
    async with s, s.lookup("memory") as lookup:
        for piece in s.deliver(lookup.found([HALF] * 4, "piper"), FORMAT):
            yield piece


async def in_block(s: Synthesis) -> AsyncIterator[bytes]:
    """One that yields inside the block of its request alone."""
    async with s:
        async for piece in s.attempt("piper").stream(pieces(), FORMAT):
            yield piece


async def leave(tts: Telemetry, speak: Callable[[Synthesis], AsyncIterator[bytes]], *, interrupted: bool) -> Synthesis:
    """Consume two pieces, and go on before the event loop has closed the generator."""
    s, number = tts.synthesis(TEXT, stream=True), 0
    async for _ in speak(s):
        number += 1
        if number == 2:
            if interrupted:
                s.interrupt()
            break
    return s


@pytest.mark.parametrize("interrupted", [True, False])
@pytest.mark.parametrize("speak", [in_attempt, in_second_attempt, in_lookup, in_block])
async def test_the_next_utterance_is_another_request(
    capture_tts: Capture, speak: Callable[[Synthesis], AsyncIterator[bytes]], *, interrupted: bool
) -> None:
    """Whatever block the generator was left in, what its consumer begins then is a request of its own, in a trace of its own."""
    tts = capture_tts.telemetry()
    left = await leave(tts, speak, interrupted=interrupted)
    if interrupted:
        assert enclosing_request() is None  # nor would a patched SDK take it for its own
    with tts.synthesis(NEXT) as following:
        attempted(following, "hibari")
    assert (following.outcome, left.outcome, following.trace_id == left.trace_id) == ("ok", None, False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert left.outcome == "cancelled"
    views = {view["tts.text.length"]: view for view in capture_tts.syntheses()}
    assert {length: view.outcome for length, view in views.items()} == {len(TEXT): "cancelled", len(NEXT): "ok"}
    assert [attempt.provider for attempt in views[len(NEXT)].attempts] == ["hibari"]
    assert views[len(TEXT)][semconv.AUDIO_DELIVERED.key] == pytest.approx(1.0)
    with tts.synthesis(NEXT) as last:  # the context is still there, the request is not
        pass
    assert last.trace_id not in {left.trace_id, following.trace_id}


async def test_a_request_beside_a_generator(capture_tts: Capture) -> None:
    """Between two pieces its consumer begins requests of its own, by hand or in a span of the host's, which stays the parent."""
    tts, tracer = capture_tts.telemetry(), trace.get_tracer("host", tracer_provider=capture_tts._tracer_provider)
    s, turns = tts.synthesis(TEXT, stream=True), []
    async for _ in in_attempt(s):
        with tracer.start_as_current_span("turn") as turn, tts.synthesis(NEXT) as beside:
            attempted(beside, "hibari")
        assert beside.outcome == "ok"
        turns.append(turn.get_span_context().span_id)
    assert s.outcome == "ok"
    spans = [span for span in capture_tts.spans if span.name == "tts.synthesize" and span.parent is not None]
    assert [span.parent.span_id for span in spans if span.parent] == turns


async def test_what_works_for_the_request_all_the_same(capture_tts: Capture) -> None:
    """Code of an engine that runs in a pull joins its request, also after an interruption; so does a task that its block has started."""
    tts, joined = capture_tts.telemetry(), []

    async def engine(s: Synthesis) -> AsyncIterator[bytes]:
        for number in range(4):
            with tts.synthesis(NEXT) as inner:
                joined.append(inner.trace_id == s.trace_id)
            yield HALF
            if number == 1:
                s.interrupt()

    async def feed(s: Synthesis) -> None:
        with tts.synthesis(NEXT) as inner:
            joined.append(inner.trace_id == s.trace_id)

    async with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        number = 0
        async for _ in attempt.stream(engine(s), FORMAT):
            number += 1
            if number == 1:
                await asyncio.create_task(feed(s))
    assert joined == [True] * 5
    assert capture_tts.synthesis().outcome == "cancelled"


def test_an_utterance_after_an_interrupted_one_of_the_same_rpc(capture_tts: Capture) -> None:
    """It is a request of its own, though the one before is not left yet."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        with tts.synthesis(TEXT, stream=True) as s:
            next(s.attempt("piper").stream(iter([HALF] * 3), FORMAT))
            s.interrupt()
            with tts.synthesis(NEXT) as following:
                attempted(following, "hibari")
        call.end("OK")
    assert sorted((view.outcome, view["tts.text.length"]) for view in capture_tts.syntheses()) == [
        ("cancelled", len(TEXT)),
        ("ok", len(NEXT)),
    ]


class Cut(Exception):  # noqa: N818 - how an application leaves its loops
    """An exception of the application's own."""


STATEMENTS: dict[str, tuple[Callable[[Synthesis], None], str, str | None]] = {
    "interrupted": (lambda s: s.interrupt(heard=0.1), "cancelled", None),
    "superseded": (lambda s: s.interrupt("superseded"), "cancelled", None),
    "caller": (lambda s: s.interrupt("caller"), "cancelled", None),
    "stopped": (lambda s: s.interrupt("stopped"), "cancelled", None),
    "cancelled": (lambda s: s.fail(outcome="cancelled"), "cancelled", None),
    "deadline": (lambda s: s.fail(outcome="deadline"), "deadline", "deadline"),
    "shutdown": (lambda s: s.fail(error_type="shutdown"), "cancelled", None),
    "rate limit": (lambda s: s.fail(error_type="rate_limited"), "error", "rate_limited"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("stated", STATEMENTS)
def test_an_exception_of_the_applications_own(capture_tts: Capture, stated: str, *, streamed: bool) -> None:
    """It ends the attempt as the application has said that the request ends: the provider is not to blame for more than that."""
    say, outcome, error_type = STATEMENTS[stated]
    own = [Cut(), KeyError("x"), *([HttpError(503), TimeoutError(), ConnectionError()] if stated in list(STATEMENTS)[:4] else [])]
    for error in own:
        tts = capture_tts.telemetry()
        with suppress(type(error)), tts.synthesis(TEXT, stream=streamed) as s, s.attempt("piper") as attempt:
            for _ in attempt.stream(iter([HALF] * 3), FORMAT) if streamed else [attempt.audio(HALF, FORMAT)]:
                say(s)
                raise error
        (view,) = capture_tts.syntheses()[-1:]
        partial = "partial" if streamed and outcome == "error" else outcome
        assert [(a.outcome, a.error_type) for a in view.attempts] == [(partial, error_type)], error


@pytest.mark.parametrize("error", [Cut(), HttpError(503), TimeoutError(), ConnectionError()])
def test_a_failure_before_the_interruption(capture_tts: Capture, error: Exception) -> None:
    """What the provider's stream raised while its audio was wanted is its failure, whatever the application says then."""

    def engine() -> Iterator[bytes]:
        yield HALF
        raise error

    tts = capture_tts.telemetry()
    with suppress(type(error)), tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        try:
            list(attempt.stream(engine(), FORMAT))
        except type(error):
            s.interrupt("superseded")
            raise
    assert (s.outcome, capture_tts.synthesis().attempts[0].outcome) == ("cancelled", "partial")


def a_named(name: str, *bases: type[Exception]) -> Exception:
    """An error of a server's package, by its name."""
    error: Exception = type(name, bases or (Exception,), {})()
    return error


HANG_UPS = [
    BrokenPipeError(),
    ConnectionAbortedError(),
    a_named("ConnectionClosedError"),
    a_named("ClientConnectionResetError", ConnectionError),
    a_named("WebSocketClosedError"),
    a_named("StreamClosedError", OSError),
]
WAYS: dict[str, Callable[[Synthesis], Any]] = {
    "stream": lambda s: s.stream(iter([HALF] * 4), "piper", audio=FORMAT),
    "attempt": lambda s: s.attempt("piper").stream(iter([HALF] * 4), FORMAT),
    "deliver": lambda s: s.deliver(iter([HALF] * 4), FORMAT),
}


@pytest.mark.parametrize("way", [*WAYS, "block", "second block"])
@pytest.mark.parametrize("error", HANG_UPS, ids=lambda error: type(error).__name__)
def test_a_listener_who_hangs_up(capture_tts: Capture, error: Exception, way: str) -> None:
    """Where sending a piece raises it, the caller left: neither the service nor its provider failed, however the loop is written."""

    def send(pieces: Iterator[bytes]) -> None:
        for number, _ in enumerate(pieces):
            if number == 1:
                raise error

    with suppress(type(error)), capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        if way == "second block":
            attempted(s, "espeak", a_named("Odd"))
        if way in WAYS:
            send(WAYS[way](s))
        else:
            with s.attempt("piper") as attempt:
                send(attempt.stream(iter([HALF] * 4), FORMAT))
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == ("cancelled", None)
    assert [a.outcome for a in view.attempts if a.provider == "piper"] == ["cancelled"] * (way != "deliver")


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("error", [ConnectionResetError(), a_named("ConnectError")])
def test_a_connection_of_the_services_own(capture_tts: Capture, error: Exception, *, sent: bool) -> None:
    """The provider's that breaks, or the cache's once all audio is sent, is a failure."""

    def engine() -> Iterator[bytes]:
        yield HALF
        if not sent:
            raise error

    with suppress(type(error)), capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        with s.attempt("piper") as attempt:
            list(attempt.stream(engine(), FORMAT))
        raise error
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"], view.attempts[0].outcome) == ("partial", "connection", "ok" if sent else "partial")


@pytest.mark.parametrize("provider", ["hibari", "piper"])
@pytest.mark.parametrize("way", ["around the block", "in the block", "around the stream", "around a pull"])
async def test_a_provider_that_is_given_up(capture_tts: Capture, way: str, provider: str) -> None:
    """Whoever waits no longer for a provider that gives nothing, and calls one, makes a fallback or a retry, however that is written."""

    async def hanging() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield HALF

    async with capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        with suppress(TimeoutError):
            if way == "around the block":
                async with asyncio.timeout(0.001), s.attempt("piper") as attempt:
                    await anext(attempt.stream(hanging(), FORMAT))
            elif way == "in the block":
                async with s.attempt("piper") as attempt, asyncio.timeout(0.001):
                    await anext(attempt.stream(hanging(), FORMAT))
            elif way == "around the stream":
                async with asyncio.timeout(0.001):
                    await anext(s.attempt("piper").stream(hanging(), FORMAT))
            else:
                await asyncio.wait_for(anext(s.attempt("piper").stream(hanging(), FORMAT)), 0.001)
        attempted(s, provider)
    view = capture_tts.synthesis()
    is_fallback = provider != "piper"
    assert (view.outcome, view["tts.fallback.used"]) == ("ok", is_fallback)
    assert [a.reason for a in view.attempts] == ["initial", "fallback" if is_fallback else "retry"]


@pytest.mark.parametrize("order", ["001122", "012012", "010101", "001101", "210210"])
def test_attempts_that_stream_at_the_same_time(capture_tts: Capture, order: str) -> None:
    """Each piece is handed out once, in whatever order the streams are pulled."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        streams = [s.attempt("piper").stream(iter([HALF] * order.count(key)), FORMAT) for key in sorted(set(order))]
        for key in order:
            next(streams[int(key)])
        for stream in streams:
            list(stream)
    view = capture_tts.synthesis()
    assert (view[semconv.AUDIO_DELIVERED.key], view[semconv.AUDIO_DURATION.key]) == pytest.approx((3.0, 3.0))


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("way", ["inside, after", "inside, before", "outside", "the stream"])
def test_audio_that_is_delivered_where_it_is_made(capture_tts: Capture, way: str, *, reported: bool) -> None:
    """It counts once, with all that is known of it, wherever it is delivered; what the attempt does not report is known from there."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        with s.attempt("piper") as attempt:
            if way == "inside, before":
                list(s.deliver([HALF, HALF], FORMAT))
            if way == "the stream":
                list(s.deliver(attempt.stream(iter([HALF, HALF]), FORMAT), FORMAT))
            elif reported:
                attempt.audio(HALF + HALF, FORMAT)
            if way == "inside, after":
                list(s.deliver([HALF, HALF], FORMAT))
        if way == "outside":
            list(s.deliver([HALF, HALF], FORMAT))
    view = capture_tts.synthesis()
    assert (view[semconv.AUDIO_DELIVERED.key], view[semconv.AUDIO_DURATION.key]) == pytest.approx((1.0, 1.0))
    if reported:
        assert view[semconv.AUDIO_LOUDNESS.key] is not None


BLOCKS: dict[str, Callable[[Telemetry, Synthesis], Any]] = {
    "attempt": lambda _, s: s.attempt("piper"),
    "lookup": lambda _, s: s.lookup("memory"),
    "write": lambda _, s: s.cache_write("memory"),
    "conversation": lambda tts, _: tts.conversation("c"),
}


@pytest.mark.parametrize("ending", ["end", "error", "close"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_that_ends_in_another_context(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, block: str, ending: str
) -> None:
    """As with servers that pull each piece in another thread: nothing is logged, and no context is left current."""
    caplog.set_level(logging.WARNING)
    tts = capture_tts.telemetry()

    def speak() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s, BLOCKS[block](tts, s) as inside:
            if block == "attempt":
                yield from inside.stream(iter([HALF] * 2), FORMAT)
            yield HALF
            if ending == "error":
                raise Cut

    generator, contexts = speak(), [contextvars.copy_context() for _ in range(5)]
    if ending == "close":
        contexts[0].run(next, generator)
        contexts[1].run(generator.close)  # type: ignore[attr-defined]
    else:
        with suppress(Cut):
            for context in contexts:
                context.run(next, generator, None)
    assert caplog.messages == []
    assert not contexts[4].run(get_current_span).get_span_context().is_valid
    assert capture_tts.synthesis().outcome == {"end": "ok", "error": "error", "close": "cancelled"}[ending] or block == "attempt"
