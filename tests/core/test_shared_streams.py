"""One stream that several threads or tasks pull: by turns, which is legal, and at the same time, which generators refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context import get_current

from otel_tts import Telemetry
from otel_tts.core.streams import MeasuredIterator
from otel_tts.testing.capture import Capture, FakeClock
from tests.core.picture import FORMAT, HALF, TEXT, points, tree

LONG = 60  # seconds that a thread of a test waits at most
Opened = Any


@contextmanager
def whole(tts: Telemetry, chunks: Any) -> Iterator[Opened]:
    """A request that is one stream."""
    yield tts.synthesis(TEXT, stream=True).stream(chunks, "piper", audio=FORMAT)


@contextmanager
def in_blocks(tts: Telemetry, chunks: Any) -> Iterator[Opened]:
    """A stream in the block of its attempt."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        yield attempt.stream(chunks, FORMAT)


@contextmanager
def by_its_attempt(tts: Telemetry, chunks: Any) -> Iterator[Opened]:
    """A stream that ends its attempt, in the block of its request."""
    with tts.synthesis(TEXT, stream=True) as s:
        yield s.attempt("piper").stream(chunks, FORMAT)


@contextmanager
def cached(tts: Telemetry, chunks: Any) -> Iterator[Opened]:
    """Audio of a cache."""
    with tts.synthesis(TEXT, stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found("there", "piper")
        yield s.deliver(chunks, FORMAT)


WAYS = (whole, in_blocks, by_its_attempt, cached)


def timed(clock: FakeClock, count: int, inside: Callable[[int], object] = lambda _: None) -> Iterator[bytes]:
    """An engine that takes a second for each piece; something happens while it works."""
    for number in range(count):
        clock.advance(1)
        inside(number)
        yield HALF


async def atimed(clock: FakeClock, count: int, inside: Callable[[int], Any]) -> AsyncIterator[bytes]:
    """An asynchronous one."""
    for number in range(count):
        clock.advance(1)
        await inside(number)
        yield HALF


def recorded(capture: Capture) -> Any:
    """All spans and points; the attribute of the way in which a stream was pulled is none of them."""
    return tree(capture), {name: value for name, value in points(capture).items() if name != "tts.synthesis.active"}


def undisturbed(capture: Capture, way: Any, count: int) -> Any:
    """What is recorded of a stream that one thread pulls."""
    with way(capture.telemetry(), timed(capture.clock, count)) as stream:
        for _ in stream:
            capture.clock.advance(0.25)
    return recorded(capture)


def pulls_in(pool: list[ThreadPoolExecutor], stream: Any, turns: list[int], clock: FakeClock) -> None:
    """Pull a stream to its end, by turns."""
    end = object()
    for number in range(1000):
        if pool[turns[number % len(turns)]].submit(next, stream, end).result(LONG) is end:
            return
        clock.advance(0.25)


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(st.integers(0, 3), min_size=1, max_size=6), count=st.integers(0, 5))
def test_by_turns(_tts_providers: Any, way: Any, turns: list[int], count: int) -> None:  # noqa: PT019 - a capture for each run
    """Whichever thread pulls which piece, the same is recorded as of one thread."""
    with Capture(_tts_providers) as capture:
        expected = undisturbed(capture, way, count)
    with Capture(_tts_providers) as capture, ExitStack() as stack:
        pool = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(4)]
        with way(capture.telemetry(), timed(capture.clock, count)) as stream:
            pulls_in(pool, stream, turns, capture.clock)
        assert recorded(capture) == expected


def refused(call: Callable[[], object], errors: list[BaseException]) -> Callable[[], None]:
    """A call of which the exception is kept."""

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - all of them are looked at
            errors.append(error)

    return run


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("refuse", ["next", "close"])
@pytest.mark.parametrize("way", WAYS)
def test_at_the_same_time(_tts_providers: Any, way: Any, refuse: str, at: int, layers: int) -> None:  # noqa: PT019 - a capture for each run
    """While one thread is in the engine, another pulls or closes: Python's own exception, and the request is as if it had not been."""
    with Capture(_tts_providers) as capture:
        expected = undisturbed(capture, way, 3)
    errors: list[BaseException] = []
    with Capture(_tts_providers) as capture:
        streams: list[Any] = []

        def inside(number: int) -> None:
            if number == at:
                other = threading.Thread(
                    target=refused(streams[-1].close if refuse == "close" else lambda: next(streams[-1]), errors)
                )
                other.start()
                other.join(LONG)

        with way(capture.telemetry(), timed(capture.clock, 3, inside)) as stream:
            streams.append(stream)
            for _ in range(layers):  # measured once more, as the SDK of a vendor may be
                streams.append(MeasuredIterator(streams[-1], Nowhere()))
            for _ in streams[-1]:
                capture.clock.advance(0.25)
        assert [(type(error), error.args) for error in errors] == [(ValueError, ("generator already executing",))]
        assert recorded(capture) == expected


class Nowhere:
    """A source that records nothing."""

    def __init__(self) -> None:
        self.context = get_current()

    def monotonic(self) -> int:
        """The clock stands."""
        return 0

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """Nothing."""

    waiting = dropped = finished = lambda *_: None  # type: ignore[assignment]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("refuse", ["anext", "aclose"])
@pytest.mark.parametrize("way", WAYS)
async def test_tasks_at_the_same_time(_tts_providers: Any, way: Any, refuse: str, at: int) -> None:  # noqa: PT019 - a capture for each run
    """The same with tasks and an asynchronous generator."""
    with Capture(_tts_providers) as capture:
        expected = undisturbed(capture, way, 3)
    errors: list[BaseException] = []
    with Capture(_tts_providers) as capture:
        streams: list[Any] = []

        async def call() -> None:
            try:
                await (streams[0].aclose() if refuse == "aclose" else anext(streams[0]))
            except BaseException as error:  # noqa: BLE001 - it is looked at
                errors.append(error)

        async def inside(number: int) -> None:
            if number == at:
                await asyncio.create_task(call())

        with way(capture.telemetry(), atimed(capture.clock, 3, inside)) as stream:
            streams.append(stream)
            async for _ in stream:
                capture.clock.advance(0.25)
        [error] = errors
        assert type(error) is RuntimeError
        assert error.args == (f"{refuse}(): asynchronous generator is already running",)
        assert recorded(capture) == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_that_met_it_inside(capture_tts: Capture, way: Any) -> None:
    """A generator of the host's that pulls a busy one has ended by that, and so has its stream."""

    def busy() -> Iterator[bytes]:
        yield HALF
        yield from outer

    def chunks() -> Iterator[bytes]:
        yield from inner

    inner = busy()
    outer = chunks()
    with pytest.raises(ValueError, match="already executing"), way(capture_tts.telemetry(), outer) as stream:
        list(stream)
    assert capture_tts.synthesis().outcome != "ok"


class Shared:
    """An iterator that several threads may pull at once: each gets its piece when all have asked, a second later."""

    def __init__(self, clock: FakeClock, threads: int, rounds: int) -> None:
        self.barrier = threading.Barrier(threads, lambda: clock.advance(1))
        self.left = threads * rounds
        self.lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.barrier.wait(LONG)
        with self.lock:
            self.left -= 1
            if self.left < 0:
                raise StopIteration
        return HALF


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("way", WAYS[:3])
def test_all_at_once(capture_tts: Capture, way: Any, threads: int) -> None:
    """All pieces count, with one attempt and one end; threads that wait together wait once."""
    rounds = 3
    with way(capture_tts.telemetry(), Shared(capture_tts.clock, threads, rounds)) as stream:
        done = threading.Barrier(threads)

        def pull() -> None:
            for number in range(rounds + 1):
                assert next(stream, None) == (HALF if number < rounds else None)
                done.wait(LONG)

        workers = [threading.Thread(target=pull) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(LONG)
    view = capture_tts.synthesis(outcome="ok")
    seconds = threads * rounds * 0.5
    assert (view["tts.audio.duration"], view["tts.audio.delivered_duration"], len(view.attempts)) == (seconds, seconds, 1)
    assert view["tts.real_time_factor"] == pytest.approx((rounds + 1) / seconds)
    assert view["tts.time_to_first_byte"] == pytest.approx(1.0)
    assert capture_tts.total("tts.synthesis.active") == 0
