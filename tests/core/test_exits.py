"""The service itself ends, by `sys.exit`, Ctrl-C or the end of its event loop: nobody's caller has left."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext, suppress

import pytest

from otel_tts import Telemetry
from otel_tts.core.enclosure import Enclosure, inside
from otel_tts.core.outcome import CANCELLED, STOPPED
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, rpc

EXITS = [SystemExit(3), SystemExit(0), KeyboardInterrupt(), BaseExceptionGroup("g", [ValueError(), SystemExit(1)])]
OURS, THEIRS = ("shutdown", "stopped"), (None, "caller")


def pieces(error: BaseException, count: int) -> Iterator[bytes]:
    """An engine in whose middle the service ends."""
    yield from [HALF] * count
    raise error


def whole(tts: Telemetry, error: BaseException, count: int) -> None:
    """A request that is one stream."""
    list(tts.synthesis(TEXT, stream=True).stream(pieces(error, count), "piper", audio=FORMAT))


def in_a_block(tts: Telemetry, error: BaseException, count: int) -> None:
    """The exception leaves the consumer, inside its blocks."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        for _ in attempt.stream([HALF] * count, FORMAT):
            pass
        raise error


def in_an_attempt(tts: Telemetry, error: BaseException, count: int) -> None:
    """The attempt has no block."""
    with tts.synthesis(TEXT, stream=True) as s:
        for _ in s.attempt("piper").stream(pieces(error, count), FORMAT):
            pass


def after_a_failure(tts: Telemetry, error: BaseException, count: int) -> None:
    """An attempt has failed before: what ended the request is the exit all the same."""
    with tts.synthesis(TEXT, stream=True) as s:
        with suppress(ValueError):
            list(s.attempt("openai").stream(pieces(ValueError(), count), FORMAT))
        raise error


async def asynchronous(tts: Telemetry, error: BaseException, count: int) -> None:
    """An asynchronous stream."""

    async def apieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield HALF
        raise error

    async with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        async for _ in attempt.stream(apieces(), FORMAT):
            pass


def endings(capture: Capture) -> list[tuple[str | None, str | None, str | None]]:
    """Outcome, type and reason of each request."""
    return [(v.outcome, v["error.type"], v["tts.cancel.reason"]) for v in capture.syntheses()]


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("error", EXITS, ids=repr)
@pytest.mark.parametrize("in_rpc", [False, True])
@pytest.mark.parametrize("speak", [whole, in_a_block, in_an_attempt, after_a_failure, asynchronous])
async def test_an_exit_is_the_services_own_end(
    capture_tts: Capture, speak: Callable[..., object], in_rpc: bool, error: BaseException, count: int
) -> None:
    """As SIGTERM: `partial` after audio, else `error`, and no provider has failed."""
    tts = capture_tts.telemetry()
    with suppress(BaseException):
        if in_rpc:
            with rpc(capture_tts.clock) as call:
                try:
                    result = speak(tts, error, count)
                    if asyncio.iscoroutine(result):
                        await result
                except BaseException as raised:
                    call.end("UNKNOWN", error=raised)
                    raise
        result = speak(tts, error, count) if not in_rpc else None
        if asyncio.iscoroutine(result):
            await result
    if in_rpc and speak is after_a_failure:  # the RPC went on after the failure, which explains its status
        return
    assert endings(capture_tts) == [("partial" if count else "error", *OURS)]
    attempts = [(a.provider, a.outcome, a["tts.cancel.reason"]) for v in capture_tts.syntheses() for a in v.attempts]
    failed = ("openai", "partial" if count else "error", None)
    asked = [failed] if speak is after_a_failure else [("piper", "cancelled", "stopped")]
    assert attempts == asked


@pytest.mark.parametrize("error", [*EXITS, GeneratorExit(), asyncio.CancelledError()], ids=repr)
def test_what_was_left_in_a_request_whose_service_ends(capture_tts: Capture, error: BaseException) -> None:
    """A request by hand that its HTTP request left without a word is explained by what left that one."""
    enclosure = Enclosure()
    with suppress(BaseException), inside(enclosure):
        try:
            for _ in capture_tts.telemetry().synthesis(TEXT, stream=True).stream(iter([HALF] * 2), "piper", audio=FORMAT):
                raise error  # noqa: TRY301 - the consumer's own code fails
        except BaseException as raised:
            enclosure.fail(raised)
            raise
        finally:
            enclosure.close()
    capture_tts.telemetry().run_deferred()
    exits = not isinstance(error, GeneratorExit | asyncio.CancelledError)
    assert endings(capture_tts) == [("partial", *OURS) if exits else ("cancelled", *THEIRS)]


def test_a_connection_that_is_being_opened(capture_tts: Capture) -> None:
    """It has not failed: nothing is known of its provider."""
    with suppress(SystemExit), capture_tts.telemetry().connection("openai"):
        raise SystemExit
    assert capture_tts.points("tts.connection.open.duration") == []


async def speak(tts: Telemetry, started: asyncio.Event | None = None) -> None:
    """A stream that gives one piece, and then waits."""

    async def apieces() -> AsyncIterator[bytes]:
        yield HALF
        await asyncio.Event().wait()

    async for _ in tts.synthesis(TEXT, stream=True).stream(apieces(), "piper", audio=FORMAT):
        if started is not None:
            started.set()


async def interrupted(tts: Telemetry) -> None:
    """Ctrl-C, with one stream in the main task, one in a group of tasks and one beside."""
    beside, below = asyncio.Event(), asyncio.Event()
    kept = asyncio.create_task(speak(tts, beside))
    async with asyncio.TaskGroup() as group:
        group.create_task(speak(tts, below))
        await beside.wait()
        await below.wait()
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await speak(tts)
    await kept


async def over(tts: Telemetry) -> None:
    """The main task returns, and three streams are open."""
    started = [asyncio.Event() for _ in range(3)]
    kept = [asyncio.create_task(speak(tts, event)) for event in started]
    for event in started:
        await event.wait()
    assert len(kept) == len(started)


async def cancelled(tts: Telemetry) -> None:
    """Three streams of which the application itself is no longer interested in."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await speak(tts)
    with suppress(TimeoutError):
        await asyncio.wait_for(speak(tts), 0.01)
    started = asyncio.Event()
    task = asyncio.create_task(speak(tts, started))
    await started.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("main", "raised", "ending"),
    [
        (interrupted, KeyboardInterrupt, ("partial", *OURS)),
        (over, None, ("partial", *OURS)),
        (cancelled, None, ("cancelled", *THEIRS)),
    ],
)
def test_the_end_of_an_event_loop(
    capture_tts: Capture, main: Callable[..., object], raised: type[BaseException] | None, ending: tuple[str, ...]
) -> None:
    """`asyncio.run` cancels its tasks at Ctrl-C and at its end: the service stopped them. What the application cancels was left."""
    with pytest.raises(raised) if raised is not None else nullcontext():
        asyncio.run(main(capture_tts.telemetry()))  # type: ignore[arg-type]
    assert endings(capture_tts) == [ending] * 3
    reason = STOPPED.reason if ending[2] == "stopped" else CANCELLED.reason
    attempts = [(a.outcome, a["tts.cancel.reason"]) for v in capture_tts.syntheses() for a in v.attempts]
    assert attempts == [("cancelled", reason)] * 3
