"""Streams that the service itself leaves before their end, in a block that then ends without an exception."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from otel_tts import Synthesis
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT

WAYS = ("whole", "break", "close", "block")


def engine() -> Iterator[bytes]:
    """A sentence in four pieces."""
    yield from [HALF] * 4


async def aengine() -> AsyncIterator[bytes]:
    """The same, asynchronous."""
    for piece in engine():
        yield piece


def speak(s: Synthesis, way: str) -> None:
    """One sentence."""
    if way == "block":
        with s.attempt("piper") as attempt:
            next(attempt.stream(engine(), FORMAT))
        return
    stream = s.attempt("piper").stream(engine(), FORMAT)
    for number, _ in enumerate(stream):
        if way != "whole" and number == 1:
            break
    if way == "close":
        stream.close()


async def aspeak(s: Synthesis, way: str) -> None:
    """One sentence, asynchronous."""
    if way == "block":
        async with s.attempt("piper") as attempt:
            await anext(attempt.stream(aengine(), FORMAT))
        return
    stream = s.attempt("piper").stream(aengine(), FORMAT)
    number = 0
    async for _ in stream:
        number += 1
        if way != "whole" and number == 2:
            break
    if way == "close":
        await stream.aclose()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_is_left_is_no_success(capture_tts: Capture, asynchronous: bool) -> None:
    """The request is cancelled, as its attempts are, unless one of them came to its end; a block changes nothing."""
    tts = capture_tts.telemetry()
    cases = [ways for number in (1, 2, 3) for ways in itertools.product(WAYS, repeat=number)]

    async def request(ways: Iterable[str]) -> None:
        async with tts.synthesis(TEXT, stream=True) as s:
            for way in ways:
                await aspeak(s, way)

    for ways in cases:
        if asynchronous:
            asyncio.run(request(ways))
        else:
            with tts.synthesis(TEXT, stream=True) as s:
                for way in ways:
                    speak(s, way)
    for ways, view in zip(cases, capture_tts.syntheses(), strict=True):
        attempts = ["ok" if way == "whole" else "cancelled" for way in ways]
        assert sorted(attempt.outcome for attempt in view.attempts) == sorted(attempts)
        assert (view.outcome, view["tts.cancel.reason"]) == (("ok", None) if "whole" in ways else ("cancelled", "caller")), ways


@pytest.mark.parametrize("late", ["cache", "fallback"])
def test_what_is_made_in_another_way_is_a_success(capture_tts: Capture, late: str) -> None:
    """An attempt that was left says nothing of a request that a cache or another provider answered."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        speak(s, "break")
        if late == "cache":
            with s.lookup("memory") as lookup:
                lookup.found(HALF, audio=FORMAT)
        else:
            with s.attempt("hibari") as attempt:
                attempt.audio(HALF, FORMAT)
    assert capture_tts.synthesis().outcome == "ok"


@pytest.mark.parametrize("played_s", [None, 0.25])
@pytest.mark.parametrize("chunks", [1, 2])
def test_an_interrupted_request_ends_with_its_block(capture_tts: Capture, played_s: float | None, chunks: int) -> None:
    """Also if the application still has the stream: it does not last until that is dropped, and what happens to it later does not count."""
    clock = capture_tts.clock
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as s:
        stream = s.stream([HALF] * 3, "piper", audio=FORMAT)
        for _ in itertools.islice(stream, chunks):
            clock.advance(0.5)
        s.interrupt(heard=played_s)
    assert s.outcome == "cancelled"
    assert capture_tts.total("tts.synthesis.active") == 0
    clock.advance(100)
    next(stream)
    del stream
    synthesis = capture_tts.synthesis()
    [span] = [span for span in capture_tts.spans if span.name == "tts.synthesize"]
    assert (span.end_time or 0) - (span.start_time or 0) == 500_000_000 * chunks
    assert (synthesis["tts.cancel.reason"], synthesis["tts.audio.heard_duration"]) == ("interrupted", played_s)
    assert synthesis["tts.audio.delivered_duration"] == 0.5 * chunks
    assert [attempt.outcome for attempt in synthesis.attempts] == ["cancelled"]
