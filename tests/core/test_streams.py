"""What passes through us stays what it was: same chunks, same laziness, same errors, same context."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import get_current_span

from otel_tts import PCM16, Telemetry
from otel_tts.core.deferred import run_deferred
from otel_tts.core.guard import guard
from otel_tts.testing.capture import Capture

FORMAT = PCM16(16000)
CHUNK = b".." * 160

Wrap = Callable[[Telemetry, Any], Any]


def whole(tts: Telemetry, chunks: Any) -> Any:
    """The stream of a whole request."""
    return tts.synthesis("Hello", stream=True).stream(chunks, "piper", "joe", audio=FORMAT)


def attempt(tts: Telemetry, chunks: Any) -> Any:
    """The stream of an attempt that has no block."""
    return tts.synthesis("Hello", stream=True).attempt("piper", "joe").stream(chunks, FORMAT)


def deliver(tts: Telemetry, chunks: Any) -> Any:
    """The stream of cached audio."""
    return tts.synthesis("Hello", stream=True).deliver(chunks, FORMAT)


def inert(tts: Telemetry, chunks: Any) -> Any:
    """The stream that there is when telemetry has failed altogether."""
    strict, guard.strict = guard.strict, False
    try:
        return tts.synthesis("Hello", voice=1).stream(chunks, "piper", audio=FORMAT)  # type: ignore[arg-type]
    finally:
        guard.strict = strict


def inert_delivery(tts: Telemetry, chunks: Any) -> Any:
    """The same for cached audio."""
    strict, guard.strict = guard.strict, False
    try:
        return tts.synthesis("Hello", voice=1).deliver(chunks, FORMAT)  # type: ignore[arg-type]
    finally:
        guard.strict = strict


@pytest.fixture(autouse=True)
def _no_garbage(caplog: pytest.LogCaptureFixture) -> None:
    """What earlier tests dropped ends before this one begins, so that its collections and its log are its own."""
    gc.collect()
    run_deferred()
    caplog.clear()


MEASURED = [whole, attempt, deliver]
WRAPS = [*MEASURED, inert, inert_delivery]


class Log(list[str]):
    """What an engine lived through."""

    def engine(self, *chunks: bytes, error: BaseException | None = None) -> Iterator[bytes]:
        self.append("started")
        try:
            yield from chunks
            if error is not None:
                raise error
            self.append("done")
        finally:
            self.append("closed")

    async def aengine(self, *chunks: bytes, error: BaseException | None = None) -> AsyncIterator[bytes]:
        for chunk in self.engine(*chunks, error=error):
            await asyncio.sleep(0)
            yield chunk


# -- the same chunks, lazily -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
def test_chunks_pass_as_they_are(capture_tts: Capture, wrap: Wrap) -> None:
    """The very same objects, in order; nothing starts before the first pull, and nothing is pulled ahead."""
    log, chunks = Log(), [bytes(bytearray(CHUNK)) for _ in range(3)]
    stream = wrap(capture_tts.telemetry(), log.engine(*chunks))
    assert isinstance(stream, Iterator)
    assert not isinstance(stream, AsyncIterable)
    assert iter(stream) is stream
    assert log == []
    assert next(stream) is chunks[0]
    assert log == ["started"]
    assert [a is b for a, b in zip(stream, chunks[1:], strict=True)] == [True, True]
    assert log == ["started", "done", "closed"]
    assert next(stream, None) is None
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("wrap", WRAPS)
async def test_asynchronous_chunks_pass_as_they_are(capture_tts: Capture, wrap: Wrap) -> None:
    """Asynchronously the same: `async for` works on what comes back, without awaiting it first."""
    log, chunks = Log(), [bytes(bytearray(CHUNK)) for _ in range(3)]
    stream = wrap(capture_tts.telemetry(), log.aengine(*chunks))
    assert isinstance(stream, AsyncIterator)
    assert not isinstance(stream, Iterator)
    assert aiter(stream) is stream
    assert log == []
    assert await anext(stream) is chunks[0]
    assert [chunk async for chunk in stream] == chunks[1:]
    assert log == ["started", "done", "closed"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


class Both:
    """Chunks for either kind of consumer, as an answer that is read by programs with and without asyncio."""

    def __init__(self, log: Log, *chunks: Any, error: BaseException | None = None) -> None:
        self.log, self.chunks, self.error = log, chunks, error

    def __iter__(self) -> Iterator[Any]:
        return self.log.engine(*self.chunks, error=self.error)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.log.aengine(*self.chunks, error=self.error)


class Itself(Both):
    """Chunks that are their own iterator, of both kinds."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.log:
            self.log.append("started")
        if not self.chunks:
            raise StopIteration
        chunk, *self.chunks = self.chunks  # type: ignore[assignment]
        return chunk

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None


async def pulled(stream: Any, *, by_await: bool) -> list[Any]:
    """All chunks, as one or the other kind of consumer gets them."""
    return [chunk async for chunk in stream] if by_await else list(stream)


@pytest.mark.parametrize("by_await", [False, True])
@pytest.mark.parametrize("kind", [Both, Itself])
@pytest.mark.parametrize("wrap", WRAPS)
async def test_chunks_of_both_kinds_pass_as_they_are(capture_tts: Capture, wrap: Wrap, kind: type[Both], by_await: bool) -> None:
    """What can be iterated over in both ways still can: `for` and `async for` get the same objects, measured alike."""
    log, chunks = Log(), [bytes(bytearray(CHUNK)) for _ in range(3)]
    stream = wrap(capture_tts.telemetry(), kind(log, *chunks))
    assert isinstance(stream, Iterator)
    assert isinstance(stream, AsyncIterator)
    assert (iter(stream), aiter(stream)) == (stream, stream)
    assert log == []
    first = await anext(stream) if by_await else next(stream)
    assert log[0] == "started"
    rest = await pulled(stream, by_await=by_await)
    assert [a is b for a, b in zip([first, *rest], chunks, strict=True)] == [True] * 3
    assert await pulled(stream, by_await=by_await) == []
    gc.collect()
    if wrap in (whole, attempt):
        assert [a.outcome for synthesis in capture_tts.syntheses() for a in synthesis.attempts] == ["ok"]
        assert [v["tts.audio.delivered_duration"] for v in capture_tts.syntheses()] == [0.03]


@pytest.mark.parametrize("by_await", [False, True])
@pytest.mark.parametrize("wrap", MEASURED)
async def test_chunks_of_both_kinds_are_closed_and_fail(capture_tts: Capture, wrap: Wrap, by_await: bool) -> None:
    """Closing closes the engine, before the first pull and later; an engine's error passes through."""
    log = Log()
    for pulls in (0, 1):
        stream = wrap(capture_tts.telemetry(), Both(log, CHUNK, CHUNK))
        for _ in range(pulls):
            await anext(stream) if by_await else next(stream)
        await stream.aclose() if by_await else stream.close()
        assert await pulled(stream, by_await=by_await) == []
    assert log[0] == "started"
    assert "done" not in log
    error = ConnectionError("engine")
    with pytest.raises(ConnectionError) as raised:
        await pulled(wrap(capture_tts.telemetry(), Both(log, error=error)), by_await=by_await)
    assert raised.value is error


@pytest.mark.parametrize("by_await", [False, True])
def test_a_stream_of_both_kinds_is_measured_once(capture_tts: Capture, by_await: bool) -> None:
    """A stream of an attempt that is delivered in the same request counts once."""
    with capture_tts.telemetry().synthesis("Hello", stream=True) as s:
        stream = s.deliver(s.attempt("piper").stream(Both(Log(), CHUNK, CHUNK), FORMAT), FORMAT)
        asyncio.run(pulled(stream, by_await=by_await))
    assert capture_tts.synthesis()["tts.stream.chunk.count"] == 2


@pytest.mark.parametrize("by_await", [False, True])
@pytest.mark.parametrize("telemetry", [True, False])
async def test_text_of_both_kinds_passes_as_it_is(capture_tts: Capture, telemetry: bool, by_await: bool) -> None:
    """Pieces of text that can be iterated over in both ways are counted whichever way the engine takes."""
    strict, guard.strict = guard.strict, False
    try:
        s = capture_tts.telemetry().synthesis(stream=True, voice=None if telemetry else 1)  # type: ignore[arg-type]
    finally:
        guard.strict = strict
    with s:
        assert await pulled(s.text_from(Both(Log(), "Hel", "lo.")), by_await=by_await) == ["Hel", "lo."]
    if telemetry:
        assert capture_tts.total("tts.synthesis.characters") == 6


@pytest.mark.parametrize("wrap", WRAPS)
def test_any_iterable_will_do(capture_tts: Capture, wrap: Wrap) -> None:
    """A list is an iterable, and an iterable that makes its iterator when asked is not asked before the first pull."""

    class Lazy:
        def __iter__(self) -> Iterator[bytes]:
            return iter([CHUNK])

    assert list(wrap(capture_tts.telemetry(), [CHUNK, CHUNK])) == [CHUNK, CHUNK]
    assert list(wrap(capture_tts.telemetry(), Lazy())) == [CHUNK]


@pytest.mark.parametrize("wrap", MEASURED)
def test_chunks_of_any_type(capture_tts: Capture, wrap: Wrap) -> None:
    """`payload` takes the audio out of a chunk; the chunk itself is what the application gets."""
    tts = capture_tts.telemetry()
    s = tts.synthesis("Hello", stream=True)
    frames = [{"audio": CHUNK, "visemes": []}, {"audio": b""}]
    streams: dict[Wrap, Callable[[], Any]] = {
        whole: lambda: s.stream(frames, "piper", audio=FORMAT, payload=lambda frame: frame["audio"]),
        attempt: lambda: s.attempt("piper").stream(frames, FORMAT, payload=lambda frame: frame["audio"]),
        deliver: lambda: s.deliver(frames, FORMAT, payload=lambda frame: frame["audio"]),
    }
    with s:
        assert [a is b for a, b in zip(streams[wrap](), frames, strict=True)] == [True, True]
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 0.01


# -- closing and failing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
def test_close_passes_through(capture_tts: Capture, wrap: Wrap) -> None:
    """Closing the stream closes the engine at once; afterwards there is nothing more; closing twice is fine."""
    log = Log()
    with closing(wrap(capture_tts.telemetry(), log.engine(CHUNK, CHUNK))) as stream:
        next(stream)
    assert log == ["started", "closed"]
    stream.close()
    assert list(stream) == []


@pytest.mark.parametrize("wrap", WRAPS)
async def test_aclose_passes_through(capture_tts: Capture, wrap: Wrap) -> None:
    """Asynchronously the same."""
    log = Log()
    async with aclosing(wrap(capture_tts.telemetry(), log.aengine(CHUNK, CHUNK))) as stream:
        await anext(stream)
    assert log[0] == "started"
    await stream.aclose()
    assert [chunk async for chunk in stream] == []


@pytest.mark.parametrize("wrap", WRAPS)
def test_close_before_the_first_pull(capture_tts: Capture, wrap: Wrap) -> None:
    """An engine that was never pulled is closed too, and never starts."""
    log = Log()
    engine = log.engine(CHUNK)
    stream = wrap(capture_tts.telemetry(), engine)
    stream.close()
    assert list(stream) == []
    assert list(engine) == []
    assert log == []


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_errors_pass_through(capture_tts: Capture, wrap: Wrap, kind: type[BaseException]) -> None:
    """The engine's exception reaches the application as it is, and what came before it as well."""
    received, error = [], kind("engine")
    with pytest.raises(kind) as raised:
        received.extend(wrap(capture_tts.telemetry(), Log().engine(CHUNK, error=error)))
    assert raised.value is error
    assert received == [CHUNK]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError])
async def test_errors_pass_through_asynchronously(capture_tts: Capture, wrap: Wrap, kind: type[BaseException]) -> None:
    """Asynchronously the same."""
    error = kind("engine")
    stream = wrap(capture_tts.telemetry(), Log().aengine(CHUNK, error=error))
    with pytest.raises(kind) as raised:
        _ = [chunk async for chunk in stream]
    assert raised.value is error


@pytest.mark.parametrize("wrap", WRAPS)
def test_an_engine_that_goes_on_after_an_error(capture_tts: Capture, wrap: Wrap) -> None:
    """An iterator may raise and still have more to give; that is between it and the application."""

    class Stubborn:
        answers = iter([CHUNK, None, CHUNK])

        def __iter__(self) -> Stubborn:
            return self

        def __next__(self) -> bytes:
            answer = next(self.answers)
            if answer is None:
                raise ValueError
            return answer

    Stubborn.answers = iter([CHUNK, None, CHUNK])
    stream = wrap(capture_tts.telemetry(), Stubborn())
    assert next(stream) == CHUNK
    with pytest.raises(ValueError):  # noqa: PT011 - it says no more
        next(stream)
    assert next(stream) == CHUNK


@pytest.mark.parametrize("wrap", WRAPS)
async def test_a_cancelled_pull(capture_tts: Capture, wrap: Wrap) -> None:
    """A task that is cancelled while it waits for the engine is cancelled, and so is the engine."""
    seen: list[str] = []
    waiting = asyncio.Event()

    async def engine() -> AsyncIterator[bytes]:
        yield CHUNK
        try:
            waiting.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def consume() -> None:
        async for _ in wrap(capture_tts.telemetry(), engine()):
            pass

    task = asyncio.create_task(consume())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


# -- what is current, and when -----------------------------------------------------------------------------------------


class Seen:
    """Which span is current, told by its name."""

    def __init__(self, capture: Capture) -> None:
        self.names: list[str] = []
        self._capture = capture

    def look(self) -> str:
        span: Any = get_current_span()
        return getattr(span, "name", "none")

    def engine(self) -> Iterator[bytes]:
        for _ in range(2):
            self.names.append(self.look())
            yield CHUNK
        self.names.append(self.look())

    async def aengine(self) -> AsyncIterator[bytes]:
        for chunk in self.engine():
            await asyncio.sleep(0)
            self.names.append(self.look())
            yield chunk


@pytest.fixture
def outer() -> Iterator[Context]:
    """A context of the host's, in which everything happens."""
    before = get_current()
    context = baggage.set_baggage("tenant", "a")
    attach(context)
    yield context
    attach(before)


CURRENT: dict[Wrap, str] = {whole: "text_to_speech joe", attempt: "text_to_speech joe", deliver: "tts.synthesize"}


@pytest.mark.parametrize("wrap", MEASURED)
def test_current_only_while_it_is_pulled(capture_tts: Capture, wrap: Wrap, outer: Context) -> None:
    """Inside the engine the attempt is current, outside, also between chunks, what was so before."""
    seen = Seen(capture_tts)
    for _ in wrap(capture_tts.telemetry(), seen.engine()):
        assert get_current() is outer
    assert get_current() is outer
    assert seen.names == [CURRENT[wrap]] * 3


@pytest.mark.parametrize("wrap", MEASURED)
async def test_current_only_while_it_is_pulled_asynchronously(capture_tts: Capture, wrap: Wrap) -> None:
    """Asynchronously the same, also across the engine's own waiting."""
    seen, before = Seen(capture_tts), get_current()
    async for _ in wrap(capture_tts.telemetry(), seen.aengine()):
        assert get_current() is before
    assert get_current() is before
    assert seen.names == [CURRENT[wrap]] * 5


@pytest.mark.parametrize("how", ["left", "raised", "interrupted"])
def test_blocks_are_current_inside_and_only_there(capture_tts: Capture, outer: Context, how: str) -> None:
    """`attempt`, `lookup`, `cache_write` and `probe` are current in their block, `synthesis` is not; all restore what was."""
    seen, tts = Seen(capture_tts), capture_tts.telemetry()
    error = {"left": None, "raised": ValueError(), "interrupted": KeyboardInterrupt()}[how]
    with tts.synthesis("Hello") as s:
        assert get_current() is outer
        names = []
        for block in (s.lookup("memory"), s.attempt("piper", "joe"), s.cache_write("memory"), tts.probe("piper", "joe")):
            with suppress(ValueError, KeyboardInterrupt), block:
                names.append(seen.look())
                if error is not None:
                    raise error
            assert get_current() is outer
    assert names == ["tts.synthesize", "text_to_speech joe", "tts.cache.write", "text_to_speech joe"]
    assert get_current() is outer


async def test_asynchronous_blocks_are_current_inside_and_only_there(capture_tts: Capture) -> None:
    """`async with` does the same; tasks that are started inside see it, other tasks do not."""
    seen, tts, before = Seen(capture_tts), capture_tts.telemetry(), get_current()

    async def look() -> str:
        await asyncio.sleep(0)
        return seen.look()

    outside = asyncio.create_task(look())
    async with tts.synthesis("Hello") as s:
        for block in (s.lookup("memory"), s.attempt("piper", "joe"), s.cache_write("memory"), tts.probe("piper", "joe")):
            async with block:
                assert await asyncio.create_task(look()) == seen.look() != "none"
            assert get_current() is before
    assert await outside == "none"


def test_children_of_the_attempt_and_of_the_lookup(capture_tts: Capture, outer: Context) -> None:
    """Spans that a client makes in a block or while a chunk is pulled are its children; the host's baggage stays."""
    tracer, tts = trace.get_tracer("client"), capture_tts.telemetry()
    carried = []

    def engine() -> Iterator[bytes]:
        for _ in range(2):
            carried.append(baggage.get_baggage("tenant"))
            tracer.start_span("POST").end()
            yield CHUNK

    with tts.synthesis("Hello", stream=True) as s:
        with s.lookup("redis"):
            tracer.start_span("GET").end()
        list(s.attempt("piper", "joe").stream(engine(), FORMAT))
    (root,) = capture_tts.tree()
    children = {child[0]: [grandchild[0] for grandchild in child[2]] for child in root[2]}
    assert (root[0], children) == ("tts.synthesize", {"GET": [], "text_to_speech joe": ["POST", "POST"]})
    assert carried == ["a", "a"]


def test_a_library_that_leaks_its_context(capture_tts: Capture, outer: Context) -> None:
    """An engine that leaves a context of its own behind at every chunk does not change the host's: ours is taken off with it."""

    def engine() -> Iterator[bytes]:
        for _ in range(2):
            attach(baggage.set_baggage("leaked", "yes"))
            yield CHUNK

    for _ in whole(capture_tts.telemetry(), engine()):
        assert get_current() is outer
    assert get_current() is outer


# -- leaving in a place where nothing can be restored ------------------------------------------------------------------


def test_a_generator_that_is_closed_inside_an_attempts_block(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, outer: Context
) -> None:
    """Not what should be done, but done: the host's context comes back when such a generator is closed."""
    tts = capture_tts.telemetry()

    def handler() -> Iterator[bytes]:
        with tts.synthesis("Hello", stream=True) as s, s.attempt("piper") as a:
            yield a.audio(CHUNK, FORMAT)

    responses: Any = handler()
    next(responses)
    responses.close()
    assert get_current() is outer
    assert caplog.text == ""
    assert capture_tts.synthesis().outcome == "cancelled"


@pytest.mark.parametrize("when", ["dropped", "at the loop's end"])
@pytest.mark.parametrize("how", ["stream", "block"])
def test_an_asynchronous_generator_that_the_loop_closes(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, how: str, when: str
) -> None:
    """It is closed in another task than it ran in, with another context: no complaint, and everything is told once."""
    tts, held = capture_tts.telemetry(), []

    async def handler() -> AsyncIterator[bytes]:
        async with tts.synthesis("Hello", stream=True) as s:
            if how == "stream":
                async for chunk in s.attempt("piper").stream(Log().aengine(CHUNK, CHUNK), FORMAT):
                    yield chunk
            else:  # not what should be done, but done
                async with s.attempt("piper") as a:
                    yield a.audio(CHUNK, FORMAT)

    async def main() -> None:
        held.append(handler())
        await anext(held[0])
        if when == "dropped":
            held.clear()
            await asyncio.sleep(0)

    asyncio.run(main())
    held.clear()
    gc.collect()
    assert capture_tts.synthesis().outcome == "cancelled"
    assert capture_tts.total("tts.attempt.duration", {"tts.outcome": "cancelled"}) == 1
    assert caplog.text == ""


def test_a_coroutine_that_nobody_resumes(capture_tts: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """Dropped while it waits for the engine, from another context: cancelled, without a complaint."""
    tts = capture_tts.telemetry()

    class Never:
        def __await__(self) -> Generator[None]:
            yield

    async def engine() -> AsyncIterator[bytes]:
        await Never()
        yield CHUNK

    async def consume() -> None:
        async with tts.synthesis("Hello", stream=True) as s:
            async for _ in s.attempt("piper").stream(engine(), FORMAT):
                pass

    coroutine = consume()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert capture_tts.synthesis().outcome == "cancelled"
    assert [a.outcome for a in capture_tts.synthesis().attempts] == ["cancelled"]
    assert caplog.text == ""


def test_pulled_from_several_threads(capture_tts: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """Frameworks pull synchronous streams in worker threads, each pull in another one."""
    tts = capture_tts.telemetry()
    stream = whole(tts, iter([CHUNK, CHUNK]))
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        pulled = [pool.submit(next, stream, None).result(10) for pool in (first, second, first)]
    assert pulled == [CHUNK, CHUNK, None]
    assert capture_tts.synthesis().outcome == "ok"
    assert caplog.text == ""


# -- into other threads ------------------------------------------------------------------------------------------------


def test_carry(capture_tts: Capture) -> None:
    """A function that is carried runs in the context of here, wherever it runs, and leaves that thread's own as it was."""
    seen, tts = Seen(capture_tts), capture_tts.telemetry()

    def work(number: int, *, text: str) -> tuple[int, str, str]:
        """The engine."""
        return number, text, seen.look()

    with ThreadPoolExecutor(1) as pool, tts.synthesis("Hello") as s:
        with s.attempt("piper", "joe"):
            carried = tts.carry(work)
            assert pool.submit(carried, 1, text="a").result(10) == (1, "a", "text_to_speech joe")
        assert pool.submit(seen.look).result(10) == "none"
        assert (carried.__name__, carried.__doc__) == ("work", "The engine.")
        assert seen.look() == "none"


def test_what_is_carried_may_raise(capture_tts: Capture) -> None:
    """The exception is the application's."""
    error = ValueError()

    def work() -> None:
        raise error

    seen: list[BaseException] = []

    def run() -> None:
        try:
            capture_tts.telemetry().carry(work)()
        except ValueError as raised:
            seen.append(raised)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [error]
