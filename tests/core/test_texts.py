"""Waiting for text is not waiting for the engine, and is a fact of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from otel_tts import PCM16
from otel_tts.testing.capture import Capture, FakeClock, SessionProviders

RATE = 24_000
FORMAT = PCM16(RATE)
SECOND = b"\x00\x10" * RATE
# `_tts_providers` is the kit's own name for what it needs.
# Seconds until a piece of text comes, and seconds that the engine then works for its second of audio.
CLOCKS = st.sampled_from((0, 1, 30))
"""Nanoseconds that a clock goes on from one reading to the next, more each time: on a real one no two readings are the same."""
STEPS = st.lists(st.tuples(st.sampled_from((0.0, 0.25, 3.0)), st.sampled_from((0.0, 0.125, 0.5))), min_size=1, max_size=6)


class Ticking(FakeClock):
    """A clock that also moves between two readings, as a real one does, and never by the same.

    Args:
        tick_ns: by how much more from one reading to the next, in nanoseconds.
    """

    def __init__(self, tick_ns: int) -> None:
        super().__init__()
        self._tick_ns = tick_ns
        self._readings = 0

    def monotonic(self) -> int:
        """Nanoseconds."""
        self._readings += 1
        self._now += self._readings * self._tick_ns
        return self._now

    wall = monotonic


def check(capture: Capture, steps: list[tuple[float, float]], listener_s: float = 0.0) -> None:
    """The real-time factor is of the engine's work, and the time without text is that after the first piece."""
    span = capture.synthesis()
    worked_s, waited_s = sum(work for _, work in steps), sum(wait for wait, _ in steps[1:])
    assert span["tts.real_time_factor"] == pytest.approx(worked_s / len(steps), abs=1e-3)
    assert span["tts.text.wait"] == pytest.approx(waited_s, abs=1e-3)
    assert span["tts.underrun.provider"] == pytest.approx(shortfall_s(steps), abs=1e-3)
    assert span["tts.underrun.consumer"] == pytest.approx(added_s(steps, listener_s), abs=1e-3)
    assert span["tts.text.length"] == len(steps)
    [point] = capture.points("tts.text.wait")
    assert isinstance(point, HistogramDataPoint)
    assert point.count == 1
    assert point.sum == pytest.approx(waited_s, abs=1e-3)


def shortfall_s(steps: list[tuple[float, float]]) -> float:
    """By how much the engine's work alone, after its first second of audio, was behind a player at its worst."""
    return max(0.0, *(sum(work for _, work in steps[1 : number + 1]) - number for number in range(len(steps))))


def added_s(steps: list[tuple[float, float]], listener_s: float) -> float:
    """By how much a listener who takes so long after each chunk adds to that at the worst: what waiting for text adds is not theirs."""
    behind = [sum(work for _, work in steps[1 : number + 1]) - number for number in range(len(steps))]
    return max(0.0, *(s + listener_s * number - max(0.0, s) for number, s in enumerate(behind)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, tick_ns=CLOCKS)
def test_a_generator_that_waits_for_text(
    steps: list[tuple[float, float]],
    tick_ns: int,
    _tts_providers: SessionProviders,  # noqa: PT019
) -> None:
    """Whatever the pauses of the text, an engine that takes it as it comes is only judged by its own work."""
    with Capture(_tts_providers) as capture:
        capture.clock = Ticking(tick_ns)

        def texts() -> Iterator[str]:
            for wait, _ in steps:
                capture.clock.advance(wait)
                yield "x"

        def engine(pieces: Iterator[str]) -> Iterator[bytes]:
            for (_, work), _piece in zip(steps, pieces, strict=False):
                capture.clock.advance(work)
                yield SECOND

        s = capture.telemetry().synthesis(stream=True)
        list(s.stream(engine(s.text_from(texts())), "piper", "joe", audio=FORMAT))
        check(capture, steps)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, tick_ns=CLOCKS)
def test_an_asynchronous_generator_that_waits_for_text(
    steps: list[tuple[float, float]],
    tick_ns: int,
    _tts_providers: SessionProviders,  # noqa: PT019
) -> None:
    """The same, asynchronously, also where the host's task goes to sleep in between."""
    with Capture(_tts_providers) as capture:
        capture.clock = Ticking(tick_ns)

        async def texts() -> AsyncIterator[str]:
            for wait, _ in steps:
                await asyncio.sleep(0)
                capture.clock.advance(wait)
                yield "x"

        async def engine(pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
            left = iter(steps)
            async for _ in pieces:
                await asyncio.sleep(0)
                capture.clock.advance(next(left)[1])
                yield SECOND

        async def main() -> None:
            s = capture.telemetry().synthesis(stream=True)
            async for _ in s.stream(engine(s.text_from(texts())), "piper", "joe", audio=FORMAT):
                capture.clock.advance(7)  # the listener's time is nobody's

        asyncio.run(main())
        check(capture, steps, listener_s=7)


async def test_text_that_a_task_reads_ahead_keeps_no_engine_from_working(capture_tts: Capture) -> None:
    """A task that always waits for more text says nothing of the engine: its time counts whole."""
    clock, more = capture_tts.clock, asyncio.Event()

    async def texts() -> AsyncIterator[str]:
        yield "x"
        await more.wait()

    async def engine(pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
        await anext(pieces)
        ahead = asyncio.ensure_future(anext(pieces, None))
        await asyncio.sleep(0)
        clock.advance(0.5)
        more.set()
        await ahead
        yield SECOND

    s = capture_tts.telemetry().synthesis(stream=True)
    async for _ in s.stream(engine(s.text_from(texts())), "piper", "joe", audio=FORMAT):
        pass
    assert capture_tts.synthesis()["tts.real_time_factor"] == pytest.approx(0.5)


def test_a_whole_request_has_no_wait_for_text(capture_tts: Capture) -> None:
    """Where nothing comes in pieces, nothing is said of it: not 0."""
    s = capture_tts.telemetry().synthesis("Hello.", stream=True)
    list(s.stream([SECOND], "piper", "joe", audio=FORMAT))
    assert capture_tts.synthesis()["tts.text.wait"] is None
    assert not capture_tts.points("tts.text.wait")


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_end_of_the_text_is_waited_for_once(capture_tts: Capture, layers: int, *, asynchronous: bool) -> None:
    """The engine that takes all of it first waits for its end too; one iterator inside another waits for the same."""
    clock, s = capture_tts.clock, capture_tts.telemetry().synthesis(stream=True)

    def texts() -> Iterator[str]:
        yield "x"
        clock.advance(2)
        yield "y"
        clock.advance(1)

    async def texts_async() -> AsyncIterator[str]:
        for piece in texts():
            yield piece

    def engine() -> Iterator[bytes]:
        pieces: Iterator[str] = texts()
        for _ in range(layers):
            pieces = s.text_from(pieces)
        assert list(pieces) == ["x", "y"]
        clock.advance(0.5)
        yield SECOND

    async def engine_async() -> AsyncIterator[bytes]:
        pieces: AsyncIterator[str] = texts_async()
        for _ in range(layers):
            pieces = s.text_from(pieces)
        assert [piece async for piece in pieces] == ["x", "y"]
        clock.advance(0.5)
        yield SECOND

    async def main() -> None:
        async for _ in s.stream(engine_async(), "piper", audio=FORMAT):
            pass

    if asynchronous:
        asyncio.run(main())
    else:
        list(s.stream(engine(), "piper", audio=FORMAT))
    span = capture_tts.synthesis()
    assert (span["tts.text.wait"], span["tts.real_time_factor"]) == (pytest.approx(3), pytest.approx(0.5))


def test_waits_that_no_pull_takes_are_bounded(capture_tts: Capture) -> None:
    """Text that a host reads for hours before it asks for audio takes no more memory, and every wait counts."""
    s = capture_tts.telemetry().synthesis(stream=True)
    for _ in s.text_from("x" for _ in range(3000)):
        capture_tts.clock.advance(1)
        s._request.text_input.waited(s._request.text_input.now_ns() - 10**9, first=False)
    assert len(s._request.text_input.waits) <= 1001
    list(s.stream([SECOND], "piper", audio=FORMAT))
    assert capture_tts.synthesis()["tts.text.wait"] == pytest.approx(3000)
