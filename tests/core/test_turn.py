"""One owner at a time: while a thread notes a fact of a request, gRPC's own thread may end the RPC, and neither waits or is lost."""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import get_current, set_value

from otel_tts import PCM16
from otel_tts.core.audio import AudioMeter
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.streams import Current
from otel_tts.core.turn import Turn, in_turn
from otel_tts.testing.capture import Capture

FORMAT = PCM16(16_000)
CHUNK = b"\x00\x40\x00\xc0" * 8000  # 1 s
LONG = 60  # seconds that a thread of a test waits at most


def in_thread(work: Any) -> threading.Thread:
    """Begin ``work`` in another thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("status", ["OK", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"])
def test_an_rpc_that_ends_in_the_middle_of_a_chunk(status: str, capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRPC's thread says that it is over while the handler's thread feeds audio: it goes on at once, and the chunk is counted whole."""
    inside, on = threading.Event(), threading.Event()
    feed = AudioMeter.feed

    def slow(meter: AudioMeter, data: Any) -> float:
        if not inside.is_set():
            inside.set()
            assert on.wait(LONG)
        return feed(meter, data)

    monkeypatch.setattr(AudioMeter, "feed", slow)
    call = Call(RequestClock(capture_tts.clock))
    chunks: list[bytes] = []

    def handle() -> None:
        with Current(set_value(CALL, call, get_current())):
            s = capture_tts.telemetry().synthesis("hello", stream=True)
            chunks.extend(s.stream(iter([CHUNK]), "piper", audio=FORMAT))

    handler = in_thread(handle)
    assert inside.wait(LONG)
    over = in_thread(lambda: call.turn.leave(lambda: call.end(status)))
    over.join(LONG)
    assert not over.is_alive(), "gRPC's thread never waits"
    assert not capture_tts.syntheses(), "nobody ends what another thread is at"
    on.set()
    handler.join(LONG)
    assert chunks == [CHUNK]
    synthesis = capture_tts.synthesis()
    assert synthesis["tts.audio.duration"] == 1.0 or status != "OK"
    assert synthesis["tts.stream.chunk.count"] == 1
    assert synthesis["gen_ai.provider.name"] == "piper" or status != "OK"
    assert capture_tts.total("tts.synthesis.active") == 0
    assert capture_tts.total("tts.synthesis.requests") == 1


def test_one_thread_at_a_time() -> None:
    """Many threads that take turns and leave work: nothing runs beside anything else, and nothing is lost or done twice."""
    turn, inside = Turn(), [0]
    done: list[int] = []
    overlaps: list[int] = []

    def touch(number: int) -> None:
        inside[0] += 1
        if inside[0] != 1:
            overlaps.append(number)
        done.append(number)
        inside[0] -= 1

    def work(first: int) -> None:
        for number in range(first, first + 500):
            if number % 3:
                turn.leave(partial(touch, number))
            else:
                with turn:
                    touch(number)

    threads = [in_thread(partial(work, first)) for first in range(0, 4000, 500)]
    for thread in threads:
        thread.join(LONG)
    with turn:
        pass
    assert sorted(done) == list(range(4000))
    assert overlaps == []


STEP = st.recursive(st.just("leave"), lambda inner: st.lists(inner, max_size=4), max_leaves=20)


@given(st.lists(STEP, max_size=6))
def test_work_is_done_in_order_when_the_outermost_turn_ends(steps: list[Any]) -> None:
    """However blocks are nested in one thread: what is left inside waits for the end of the outermost, outside it is done at once."""
    turn, depth = Turn(), 0
    left: list[int] = []
    done: list[int] = []

    def play(step: Any) -> None:
        nonlocal depth
        if step == "leave":
            number = len(left)
            left.append(number)
            before = len(done)
            turn.leave(lambda: done.append(number))
            assert len(done) == (before if depth else before + 1)
            return
        with turn:
            depth += 1
            for inner in step:
                play(inner)
            depth -= 1
        if not depth:
            assert done == left

    for step in steps:
        play(step)
    assert done == left


@pytest.mark.parametrize("in_a_turn", [True, False])
def test_work_that_leaves_work(in_a_turn: bool) -> None:
    """What is left by what was left is done too, after it and not inside it."""
    turn, done = Turn(), []

    def first() -> None:
        turn.leave(lambda: done.append("second"))
        done.append("first")

    if in_a_turn:
        with turn:
            turn.leave(first)
    else:
        turn.leave(first)
    assert done == ["first", "second"]


def test_an_exception_in_a_turn_loses_no_work() -> None:
    """The host's exception passes, and what others left is done all the same."""
    turn, done = Turn(), []

    def interrupted() -> None:
        with turn:
            turn.leave(lambda: done.append(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == [1]
    turn.leave(lambda: done.append(2))
    assert done == [1, 2]


def test_what_a_signal_handler_raises_leaves_no_turn_taken() -> None:
    """Wherever Python looks for signals in a method that takes its turn, another thread can take the next one."""

    class Counter:
        """Something with a turn."""

        turn = Turn()

        @in_turn
        def count(self) -> None:
            """Do nothing."""

    counter, point, raised = Counter(), 0, True
    while raised:
        point, raised, left = point + 1, False, [point + 1]

        def profile(frame: Any, event: str, _: object, left: list[int] = left) -> None:
            if event in ("call", "c_return") and frame.f_code.co_filename == in_turn.__code__.co_filename:
                left[0] -= 1
                if left[0] == 0:
                    sys.setprofile(None)
                    raise InterruptedError

        sys.setprofile(profile)
        try:
            counter.count()
        except InterruptedError:
            raised = True
        finally:
            sys.setprofile(None)
        taken: list[bool] = []
        thread = threading.Thread(target=lambda taken=taken: taken.append(counter.turn._lock.acquire(timeout=5)))
        thread.start()
        thread.join()
        assert taken == [True], point
        counter.turn = Turn()
