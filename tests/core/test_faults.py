"""What is no `Exception`, and what is a group of exceptions: each means what failed in it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import Synthesis, Telemetry
from otel_tts.core import exits, outcome
from otel_tts.core.outcome import Cause
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT
from tests.core.test_leaving import DEPARTURES, FAULTS, WAYS

_RANDOM = random.Random(5)
NAMES = ["PanicException", *("".join(_RANDOM.choices("abdehimnotuy", k=9)).title() for _ in range(9))]
CUTS = (
    "CancelledError",
    "Cancelled",
    "GreenletExit",
    "Interrupt",
    "Shutdown",
    "HaltServer",
    "AirflowTaskTerminated",
    "PrefectAbort",
)


def panic(name: str) -> BaseException:
    """What an engine in another language raises where it breaks, as PyO3's `PanicException`: no `Exception`."""
    return type(name, (BaseException,), {})("called `unwrap()` on a `None` value")


def broken(error: BaseException, chunks: int) -> Iterator[bytes]:
    """An engine that breaks after some audio."""
    yield from [HALF] * chunks
    raise error


def in_a_stream(tts: Telemetry, error: BaseException, chunks: int) -> None:
    """The request is the stream."""
    for _ in tts.synthesis(TEXT, stream=True).stream(broken(error, chunks), "rust", audio=FORMAT):
        pass


def in_an_attempt(tts: Telemetry, error: BaseException, chunks: int) -> None:
    """The attempt has a block."""
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("rust") as attempt:
        for _ in attempt.stream(broken(error, chunks), FORMAT):
            pass


def before_the_audio(tts: Telemetry, error: BaseException, chunks: int) -> None:
    """The engine gives all audio at once, or nothing."""
    with tts.synthesis(TEXT, stream=bool(chunks)) as s, s.attempt("rust") as attempt:
        if chunks:
            for _ in attempt.stream(broken(error, chunks), FORMAT):
                pass
        raise error


@pytest.mark.parametrize("speak", [in_a_stream, in_an_attempt, before_the_audio])
@pytest.mark.parametrize("chunks", [0, 2])
def test_an_engine_that_panics_has_failed(
    capture_tts: Capture, speak: Callable[[Telemetry, BaseException, int], None], chunks: int
) -> None:
    """What is no `Exception`, whatever its name, is a failure of engine and request, and no caller who left."""
    tts, expected = capture_tts.telemetry(), "partial" if chunks else "error"
    for name in NAMES:
        with pytest.raises(BaseException, match="unwrap"):
            speak(tts, panic(name), chunks)
    for synthesis in capture_tts.syntheses():
        [attempt] = synthesis.attempts
        assert (synthesis.outcome, synthesis["error.type"], attempt.outcome, attempt.error_type) == (expected, "_OTHER") * 2
    assert capture_tts.total("tts.synthesis.failures") == len(NAMES)


def test_an_engine_that_panics_is_down(capture_tts: Capture) -> None:
    """Three panics in a row make a provider unavailable, as three errors do; each is an event with its class."""
    tts = capture_tts.telemetry()
    with tts.probe("rust") as probe:
        probe.audio(HALF, FORMAT)
    assert capture_tts.total("tts.provider.available", {"gen_ai.provider.name": "rust"}) == 1
    for _ in range(3):
        with pytest.raises(BaseException, match="unwrap"):
            in_an_attempt(tts, panic("PanicException"), 0)
    assert capture_tts.total("tts.provider.available", {"gen_ai.provider.name": "rust"}) == 0
    assert capture_tts.total("tts.synthesis.failures") == 3
    spans = [span for span in capture_tts.spans if span.name.startswith("text_to_speech")]
    assert [(event.attributes or {})["exception.type"] for span in spans for event in span.events] == [
        f"{__name__}.PanicException"
    ] * 3


def test_a_cache_that_panics_has_failed(capture_tts: Capture) -> None:
    """A look-up that what is no `Exception` leaves is an error, one that was cancelled is not."""
    tts = capture_tts.telemetry()
    for name in ("PanicException", "CancelledError"):
        with pytest.raises(BaseException, match="unwrap"), tts.synthesis(TEXT) as s, s.lookup("memory"):
            raise panic(name)
    results = ("error", "miss")
    assert [capture_tts.total("tts.cache.lookups", {"tts.cache.lookup.result": result}) for result in results] == [1, 1]


@pytest.mark.parametrize("name", CUTS)
def test_a_cancellation_of_a_library_is_none_of_the_engine(name: str) -> None:
    """Cancellations and ends of libraries are known by parts of their names, also of what is derived from them."""
    derived = type("Derived", (type(panic(name)),), {})()
    assert outcome.from_exception(panic(name)) == outcome.from_exception(derived) == outcome.CANCELLED


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_group_of_one_means_that_one(capture_tts: Capture, way: Callable[[Synthesis, Exception, int], None]) -> None:
    """A task group raises a group also for one exception: request and attempt end as they do with the exception alone."""
    tts = capture_tts.telemetry()

    def ended(error: Exception, at: int) -> tuple[object, ...]:
        earlier = len(capture_tts.syntheses())
        with suppress(type(error)):
            way(tts.synthesis(TEXT, stream=way.__name__ != "_whole"), error, at)
        synthesis = capture_tts.syntheses()[earlier]
        return synthesis.outcome, synthesis["error.type"], [(a.outcome, a.error_type) for a in synthesis.attempts]

    for error, at in itertools.product((*DEPARTURES, *FAULTS, ConnectionRefusedError()), (0, 2)):
        group = ExceptionGroup("g", [ExceptionGroup("inner", [error])])
        assert ended(group, at) == ended(error, at), (error, at)


FAILURES = (TimeoutError(), ConnectionRefusedError(), ValueError(), type("ClientDisconnect", (Exception,), {})())
LEAVES = st.sampled_from([*FAILURES, SystemExit(), *map(panic, CUTS), panic("Panic")])
GROUPS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda errors: BaseExceptionGroup("g", errors)),
    max_leaves=8,
)


@given(GROUPS)
def test_what_a_group_means(error: BaseException) -> None:
    """The end of the service counts first, then a cancellation; else what all mean, and where they differ an error of unknown type."""
    causes = {outcome.from_exception(member) for member in leaves(error)}
    expected: Cause = next(
        (cause for cause in (outcome.SHUTDOWN, outcome.CANCELLED) if cause in causes),
        next(iter(causes)) if len(causes) == 1 else outcome.ERROR,
    )
    assert outcome.from_exception(error) == expected


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group and the groups in it."""
    return [leaf for inner in error.exceptions for leaf in leaves(inner)] if isinstance(error, BaseExceptionGroup) else [error]


def test_groups_that_are_hard_to_look_at() -> None:
    """One whose property raises, one that is very deep, one that is very wide."""

    class Hostile(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> tuple[Exception, ...]:  # type: ignore[override]
            raise RuntimeError

    deep: Exception = TimeoutError()
    for _ in range(5_000):
        deep = ExceptionGroup("g", [deep])
    wide = ExceptionGroup("g", [TimeoutError()] * 100_000)
    for group in (Hostile("g", [TimeoutError()]), deep, wide):
        assert outcome.from_exception(group) == outcome.TIMEOUT
    assert len(exits.members(wide)) == 100
