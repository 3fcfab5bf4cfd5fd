"""Attempts that a layer reports inside the attempt of another layer: each amount counts once, and the innermost call is the attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.core.guard import guard
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, RATE, TEXT

PIECES = [HALF, HALF, HALF]
SECONDS = 1.5
Source = Callable[[], Iterator[bytes]]
ASource = Callable[[], AsyncIterator[bytes]]


def engine() -> Iterator[bytes]:
    """The provider itself."""
    yield from PIECES


# -- ways in which a layer reports what it gets from the one below --------------------------------------------------------------------


def in_block(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """A stream in the block of an attempt."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        yield from attempt.stream(below(), FORMAT)


def without_block(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """A stream that ends its attempt and request."""
    return tts.synthesis(TEXT, stream=True).stream(lazily(below), name, audio=FORMAT)


def called_in_block(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """The layer below begins to work before the stream is asked for."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        got = below()
        first = next(got)
        yield from attempt.stream(chain(first, got), FORMAT)


def collected(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """All of the audio is collected inside the block, and handed out in pieces later."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        audio = list(below())
        yield from attempt.stream(audio, FORMAT)


def whole(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """It is reported as a whole."""
    with tts.synthesis(TEXT) as s, s.attempt(name) as attempt:
        yield attempt.audio(b"".join(below()), FORMAT)


def transformed(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """It is resampled on its way: other bytes, in other pieces, of the same length."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        half_rate = (part for piece in below() for part in (piece[: len(piece) // 4], piece[: len(piece) // 4]))
        for piece in attempt.stream(half_rate, PCM16(RATE // 2)):
            yield piece * 2  # to the layer above at the usual rate


def silent(tts: Telemetry, name: str, below: Source) -> Iterator[bytes]:
    """A block without audio of its own."""
    with tts.synthesis(TEXT) as s, s.attempt(name):
        yield from below()


def lazily(below: Source) -> Iterator[bytes]:
    """The layer below begins with the first pull."""
    yield from below()


def chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """What came, and what follows."""
    yield first
    yield from rest


LAYERS = (in_block, without_block, called_in_block, collected, whole, transformed, silent)
SPEAKING = (in_block, without_block, whole)


def picture(capture: Capture) -> dict[str, Any]:
    """The amounts."""
    view = capture.synthesis()
    by_state = {state: capture.total("tts.synthesis.audio", {"tts.audio.state": state}) for state in ("generated", "delivered")}
    return {
        "outcome": view.outcome,
        "attempts": [(a.provider, a.reason, a.outcome) for a in view.attempts],
        "counted": [view[semconv.ATTEMPT_COUNT.key], capture.total("tts.attempt.duration")],
        "requests": capture.total("tts.synthesis.requests"),
        "seconds": [view["tts.audio.duration"], *by_state.values()],
        "characters": capture.total("tts.synthesis.characters"),
        "cost": [view["tts.usage.cost"], capture.total("tts.usage.cost")],
    }


ONCE = {
    "outcome": "ok",
    "attempts": [("piper", "initial", "ok")],
    "counted": [1, 1],
    "requests": 1,
    "seconds": pytest.approx([SECONDS] * 3),
    "characters": len(TEXT),
    "cost": pytest.approx([10e-6 * len(TEXT)] * 2),
}
ONCE_TWO = {key: value for key, value in ONCE.items() if key != "attempts"} | {"counted": [2, 2]}
"""With two attempts, of which one made audio."""


@pytest.mark.parametrize("layers", [(), *product(LAYERS, repeat=1), *product(LAYERS, repeat=2)])
@pytest.mark.parametrize("innermost", SPEAKING)
def test_each_amount_counts_once(capture_tts: Capture, innermost: Any, layers: tuple[Any, ...]) -> None:
    """Up to three layers, each in its own way: one attempt, that of the innermost layer, with its audio, its text and its price."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "outer 0": 70.0, "outer 1": 90.0})
    source: Source = lambda: innermost(tts, "piper", engine)  # noqa: E731
    for number, layer in enumerate(reversed(layers)):
        source = lambda number=number, layer=layer, below=source: layer(tts, f"outer {number}", below)  # type: ignore[misc] # noqa: E731
    assert b"".join(source()) == b"".join(PIECES)
    assert picture(capture_tts) == ONCE
    assert sum(span.name == "tts.enclose" for span in capture_tts.spans) == len(layers)


# -- asynchronous layers --------------------------------------------------------------------------------------------------------------


async def aengine() -> AsyncIterator[bytes]:
    """The provider itself."""
    for piece in PIECES:
        await asyncio.sleep(0)
        yield piece


async def ain_block(tts: Telemetry, name: str, below: ASource) -> AsyncIterator[bytes]:
    """A stream in the block of an attempt."""
    async with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        async for piece in attempt.stream(below(), FORMAT):
            yield piece


async def acollected(tts: Telemetry, name: str, below: ASource) -> AsyncIterator[bytes]:
    """All of it is collected, and reported as a whole."""
    async with tts.synthesis(TEXT) as s, s.attempt(name) as attempt:
        yield attempt.audio(b"".join([piece async for piece in below()]), FORMAT)


async def awithout_block(tts: Telemetry, name: str, below: ASource) -> AsyncIterator[bytes]:
    """A stream that ends its attempt and request."""

    async def lazily() -> AsyncIterator[bytes]:
        async for piece in below():
            yield piece

    async for piece in tts.synthesis(TEXT, stream=True).stream(lazily(), name, audio=FORMAT):
        yield piece


async def in_task(tts: Telemetry, name: str, below: ASource) -> AsyncIterator[bytes]:
    """The layer below runs in a task of its own."""

    async def collect() -> list[bytes]:
        return [piece async for piece in below()]

    async with tts.synthesis(TEXT, stream=True) as s, s.attempt(name) as attempt:
        for piece in attempt.stream(await asyncio.create_task(collect()), FORMAT):
            yield piece


ALAYERS = (ain_block, acollected, awithout_block, in_task)


@pytest.mark.parametrize("layers", [*product(ALAYERS, repeat=1), *product(ALAYERS, repeat=2)])
@pytest.mark.parametrize("innermost", ALAYERS[:3])
async def test_each_amount_counts_once_in_tasks(capture_tts: Capture, innermost: Any, layers: tuple[Any, ...]) -> None:
    """The same with asynchronous layers."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "outer 0": 70.0, "outer 1": 90.0})
    source: ASource = lambda: innermost(tts, "piper", aengine)  # noqa: E731
    for number, layer in enumerate(reversed(layers)):
        source = lambda number=number, layer=layer, below=source: layer(tts, f"outer {number}", below)  # type: ignore[misc] # noqa: E731
    assert b"".join([piece async for piece in source()]) == b"".join(PIECES)
    assert picture(capture_tts) == ONCE


# -- what else a layer does -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [None, TEXT])
@pytest.mark.parametrize("outer", [in_block, collected, whole, silent])
def test_a_fallback_inside(capture_tts: Capture, outer: Any, stated: str | None) -> None:
    """The inner layer asks a second provider: both are attempts, and the one that made the audio is charged for it."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "openai": 1.0, "library": 70.0})

    def library() -> Iterator[bytes]:
        with tts.synthesis(TEXT) as s:
            with suppress(ConnectionError), s.attempt("openai", text=stated):
                raise ConnectionError
            with s.attempt("piper", text=stated) as attempt:
                yield from attempt.stream(engine(), FORMAT)

    list(outer(tts, "library", library))
    got = picture(capture_tts)
    assert got.pop("attempts") == [("openai", "initial", "error"), ("piper", "fallback", "ok")]
    assert got == ONCE_TWO
    assert capture_tts.total("tts.provider.fallbacks") == 1


@pytest.mark.parametrize("outer", [in_block, collected, without_block])
def test_a_fallback_of_the_outer_layer(capture_tts: Capture, outer: Any) -> None:
    """What fails inside is the failure: the outer layer's next attempt is a fallback from that provider, and counts like any."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "openai": 1.0, "library": 70.0})

    def library() -> Iterator[bytes]:
        with tts.synthesis(TEXT) as s, s.attempt("openai"):
            raise ConnectionError
        yield b""

    with tts.synthesis(TEXT, stream=True) as s:
        with suppress(ConnectionError), s.attempt("library") as attempt:
            list(attempt.stream(lazily(library), FORMAT))
        list(s.attempt("piper").stream(engine(), FORMAT))
    got = picture(capture_tts)
    assert got.pop("attempts") == [("openai", "initial", "error"), ("piper", "fallback", "ok")]
    assert got == ONCE_TWO


def test_a_failure_of_the_outer_layer_itself(capture_tts: Capture) -> None:
    """All went well inside, and then the outer layer failed: it is an attempt beside them, without the audio of theirs."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "library": 70.0})
    with suppress(ConnectionError), tts.synthesis(TEXT) as s, s.attempt("library") as attempt:
        attempt.audio(b"".join(in_block(tts, "piper", engine)), FORMAT)
        raise ConnectionError
    view = capture_tts.synthesis()
    assert sorted(a.provider for a in view.attempts) == ["library", "piper"]
    assert capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "generated"}) == pytest.approx(SECONDS)
    assert capture_tts.total("tts.usage.cost") == pytest.approx(10e-6 * len(TEXT))


def test_an_outer_layer_that_speaks_after_all(capture_tts: Capture) -> None:
    """Nothing inside made audio, and the outer layer did: both are attempts."""
    tts = capture_tts.telemetry(prices={"piper": 10.0})
    with tts.synthesis(TEXT) as s, s.attempt("piper") as attempt:
        with suppress(ConnectionError), tts.synthesis() as inner, inner.attempt("openai"):
            raise ConnectionError
        attempt.audio(b"".join(PIECES), FORMAT)
    got = picture(capture_tts)
    assert sorted(got.pop("attempts")) == [("openai", "initial", "error"), ("piper", "initial", "ok")]
    assert got == ONCE_TWO


@pytest.mark.parametrize("outer", [in_block, without_block, collected, whole])
def test_sentences_inside(capture_tts: Capture, outer: Any) -> None:
    """Each sentence is an attempt of the inner layer: together they are the audio and the text."""
    tts = capture_tts.telemetry(prices={"piper": 10.0, "library": 70.0})

    def library() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            for piece, text in zip(PIECES, ("He", "l", "lo"), strict=True):
                yield from s.attempt("piper", text=text).stream([piece], FORMAT)

    list(outer(tts, "library", library))
    got = picture(capture_tts)
    assert got.pop("attempts") == [("piper", "initial", "ok")] * 3
    assert (got["seconds"], got["characters"], got["cost"]) == (ONCE["seconds"], ONCE["characters"], ONCE["cost"])


@pytest.mark.parametrize("outer", [in_block, without_block, collected, whole])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_cache_inside(capture_tts: Capture, outer: Any, *, pieces: bool) -> None:
    """The inner layer finds the audio: nothing is made, nothing is charged, and it is handed out once."""
    tts = capture_tts.telemetry(prices={"library": 70.0})
    audio = b"".join(PIECES)

    def library() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            with s.lookup("memory") as lookup:
                lookup.found(audio, "piper", audio=FORMAT)
            if pieces:
                yield from s.deliver(iter(PIECES), FORMAT)
            else:
                yield s.deliver(audio, FORMAT)

    list(outer(tts, "library", library))
    got = picture(capture_tts)
    view = capture_tts.synthesis(cache_result="hit")
    assert (got["outcome"], got["attempts"], got["counted"], got["requests"]) == ("ok", [], [0, 0], 1)
    assert [view["tts.audio.delivered_duration"], capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "generated"})] == [
        SECONDS,
        0,
    ]
    assert (got["characters"], capture_tts.total("tts.usage.cost")) == (len(TEXT), 0)


def test_when_the_listener_gets_it(capture_tts: Capture) -> None:
    """The outermost layer that hands the audio out says when: what it holds back has not been handed out."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock

    def held_back() -> Iterator[bytes]:
        for piece in in_block(tts, "piper", engine):
            clock.advance(0.25)
            yield piece

    list(in_block(tts, "library", held_back))
    assert capture_tts.synthesis()["tts.time_to_first_byte"] == pytest.approx(0.25)


@pytest.mark.parametrize("layers", [1, 2])
def test_attempts_at_the_same_time_are_no_layers(capture_tts: Capture, layers: int) -> None:
    """Attempts of one layer, one begun in the block of the other, are two attempts with audio of their own."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("a") as first, s.attempt("b") as second:
        list(first.stream([HALF], FORMAT))
        list(second.stream([HALF] * layers, FORMAT))
    view = capture_tts.synthesis()
    assert (sorted(a.provider for a in view.attempts), view["tts.audio.duration"]) == (["a", "b"], 0.5 + 0.5 * layers)


@pytest.mark.parametrize("request_of_its_own", [False, True])
def test_a_stream_that_is_measured_already(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, request_of_its_own: bool
) -> None:
    """That of an attempt that is not inside cannot be counted once: the log says so, once, with the line, and what to do."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    tts = capture_tts.telemetry()
    for _ in range(2):
        with tts.synthesis(TEXT, stream=True) as s:
            inner = tts.synthesis(TEXT, stream=True) if request_of_its_own else s
            chunks = inner.attempt("piper").stream(engine(), FORMAT)
            assert list(s.attempt("library").stream(chunks, FORMAT)) == PIECES
    [message] = caplog.messages
    assert "test_nested_attempts.py" in message
    assert message.endswith("with a synthesis() of its own. This audio counts twice.")
