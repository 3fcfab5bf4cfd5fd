"""Rules of the boundary, one by one: cleaners, callbacks, locks in a forked child, and what the garbage collector may run."""

from __future__ import annotations

import gc
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from otel_tts import PCM16, semconv
from otel_tts.core import clean, deferred, fork
from otel_tts.core.callback import Callback
from otel_tts.core.clean import Range
from otel_tts.core.guard import MisuseError, guard
from otel_tts.testing.capture import Capture

_LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Voice(StrEnum):
    """A host's own names."""

    AMY = "amy"


class Name(str):
    """A host's own kind of text, which says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Silent:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [Voice.AMY, Name("amy"), "amy", b"amy"])
def test_a_cleaned_text_is_exactly_a_str(value: Any) -> None:
    """Of whatever class the host's text is."""
    for cleaned in (clean.name(value), clean.text(value), clean.optional_name(value)):
        assert (type(cleaned), cleaned) == (str, "amy")


def test_what_cannot_be_shown_is_named_by_its_class() -> None:
    """A warning about it never raises."""
    assert clean.shown(Silent()) == "<Silent>"


@pytest.mark.parametrize(
    "value", [math.nan, np.float32("nan"), Decimal("nan"), math.inf, -math.inf, 1e300, 2**70, None, "5", [], np.ones(2)]
)
def test_what_is_no_finite_number_is_refused(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every cleaner of numbers."""
    monkeypatch.setattr(guard, "strict", False)
    with pytest.raises(MisuseError):
        clean.number(value)
    for metric in semconv.METRICS:
        assert Range(metric).accept(value) is None


@pytest.mark.parametrize("value", [1.5, 0.1, np.float32(2.5), Fraction(1, 3), Decimal("0.5")])
def test_things_are_counted_in_whole_numbers(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of one is left out; a whole number of any library is an int."""
    monkeypatch.setattr(guard, "strict", False)
    counter = Range(semconv.CACHE_EVICTIONS)
    assert counter.accept(value) is None
    accepted = counter.accept(type(value)(2))
    assert (type(accepted), accepted) == (int, 2)


@pytest.mark.parametrize("value", [np.int64(3), np.float32(3), Decimal(3), Fraction(3), 3.0, True])
def test_a_sum_is_of_plain_numbers(capture_tts: Capture, value: Any) -> None:
    """Whatever is added to it."""
    capture_tts.telemetry().cache_evicted("memory", "size", value)
    (point,) = capture_tts.points(semconv.CACHE_EVICTIONS.name)
    assert type(point.value) is int  # type: ignore[union-attr]


def test_a_score_below_zero_is_misuse(capture_tts: Capture) -> None:
    """It says what a score is."""
    with capture_tts.telemetry().synthesis("hello") as s, pytest.raises(ValueError, match="a score is a number of 0 or more"):
        s.score("mos", -1)


def test_callbacks_share_one_limit_in_time(capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hang, an export waits for all of them together no longer than for one."""
    deadlines: list[float] = []

    def answer(_: Callback, deadline: float) -> None:
        deadlines.append(deadline)

    monkeypatch.setattr(Callback, "answer", answer)
    tts = capture_tts.telemetry()
    for number in range(5):
        tts.observe_cache(f"tier {number}", entries=lambda: 1)
    capture_tts.metrics()
    assert len(deadlines) >= 5
    assert len(set(deadlines[:5])) == 1


def _locks() -> Iterator[tuple[str, Any]]:
    for owner in fork.registered():
        names = [*getattr(owner, "__dict__", {}), *(n for kind in type(owner).__mro__ for n in getattr(kind, "__slots__", ()))]
        for name in names:
            lock = getattr(owner, name, None)
            if isinstance(lock, _LOCKS) and (not isinstance(lock, _LOCKS[0]) or not lock.locked()):
                yield f"{type(owner).__name__}.{name}", lock


def in_child(check: Callable[[], object]) -> int:
    """The status of a forked child, which is 0 if the check finds nothing."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # ends it if it hangs
        try:
            os._exit(1 if check() else 0)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def test_no_lock_of_ours_is_inherited(capture_tts: Capture) -> None:
    """Each one that an object of ours has is another one in the child: a thread of the parent may have held it."""
    tts = capture_tts.telemetry()
    tts.provider("piper").available(True)
    with tts.synthesis("hello") as s, s.attempt("piper") as attempt:
        attempt.audio(bytes(3200), PCM16(16000))
    before = list(_locks())
    assert {name.partition(".")[0] for name, _ in before} >= {"Labels", "ProviderStates", "_ByProvider"}

    def inherited() -> list[str]:
        after = {id(lock) for _, lock in _locks()}
        return [name for name, lock in before if id(lock) in after]

    assert in_child(inherited) == 0


def test_what_was_deferred_is_done_once() -> None:
    """By the parent, not by its children as well."""
    done: list[int] = []
    deferred.defer(lambda: done.append(1))

    def does_it() -> bool:
        deferred.run_deferred()
        return bool(done)

    assert in_child(does_it) == 0
    deferred.run_deferred()
    assert done == [1]


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Begin a collection in this thread: what it runs may hold any lock. The function ends it."""
    monkeypatch.setattr(deferred, "_collector", None)
    gc.disable()  # a real collection would end this one
    yield lambda: setattr(deferred, "_collector", None)
    gc.enable()
    deferred._collector = None
    deferred.run_deferred()


@pytest.mark.timeout(30)  # it fails where it would not end
def test_what_the_collector_runs_is_done_later(capture_tts: Capture, collected: Callable[[], None]) -> None:
    """A report, the end of an attempt, and what was deferred before: nothing of it inside the collection, all of it after."""
    tts, done = capture_tts.telemetry(), list[int]()
    synthesis = tts.synthesis("hello").__enter__()
    attempt = synthesis.attempt("piper").__enter__()
    attempt.audio(bytes(3200), PCM16(16000))
    deferred._on_collection("start", {})
    deferred.defer(lambda: done.append(1))
    synthesis.score("mos", 4)
    attempt.__exit__(None, None, None)
    deferred.run_deferred()
    assert (done, capture_tts.points(semconv.QUALITY_SCORE.name), capture_tts.spans) == ([], [], [])
    collected()
    synthesis.__exit__(None, None, None)
    deferred.run_deferred()
    assert done == [1]
    assert len(capture_tts.points(semconv.QUALITY_SCORE.name)) == 1
    assert [a.outcome for a in capture_tts.synthesis().attempts] == ["ok"]
