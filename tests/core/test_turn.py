"""One owner at a time: while a thread notes a fact of a request, gRPC's own thread may end the RPC, and neither waits or is lost."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import get_current, set_value

from otel_tts import PCM16, Telemetry
from otel_tts.core.audio import AudioMeter
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import run_deferred
from otel_tts.core.streams import Current
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.underway import UNDER_WAY
from otel_tts.grpc.internals import Internals
from otel_tts.grpc.rpc import Rpc
from otel_tts.testing.capture import Capture

FORMAT = PCM16(16_000)
CHUNK = b"\x00\x40\x00\xc0" * 8000  # 1 s
SHORT = CHUNK[:64]
LONG = 60  # seconds that a thread of a test waits at most


class Owner:
    """Something with a turn."""

    def __init__(self) -> None:
        self.turn = Turn()

    @in_turn
    def hold(self, work: Callable[[], object]) -> None:
        """Do some work in the turn."""
        work()


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
    owner, inside = Owner(), [0]
    turn = owner.turn
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
                owner.hold(partial(touch, number))

    threads = [in_thread(partial(work, first)) for first in range(0, 4000, 500)]
    for thread in threads:
        thread.join(LONG)
    owner.hold(lambda: None)
    assert sorted(done) == list(range(4000))
    assert overlaps == []


STEP = st.recursive(st.just("leave"), lambda inner: st.lists(inner, max_size=4), max_leaves=20)


@given(st.lists(STEP, max_size=6))
def test_work_is_done_in_order_when_the_outermost_turn_ends(steps: list[Any]) -> None:
    """However blocks are nested in one thread: what is left inside waits for the end of the outermost, outside it is done at once."""
    owner, depth = Owner(), 0
    turn = owner.turn
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

        def inside() -> None:
            nonlocal depth
            depth += 1
            for inner in step:
                play(inner)
            depth -= 1

        owner.hold(inside)
        if not depth:
            assert done == left

    for step in steps:
        play(step)
    assert done == left


@pytest.mark.parametrize("in_a_turn", [True, False])
def test_work_that_leaves_work(in_a_turn: bool) -> None:
    """What is left by what was left is done too, after it and not inside it."""
    owner, done = Owner(), []
    turn = owner.turn

    def first() -> None:
        turn.leave(lambda: done.append("second"))
        done.append("first")

    if in_a_turn:
        owner.hold(lambda: turn.leave(first))
    else:
        turn.leave(first)
    assert done == ["first", "second"]


def test_an_exception_in_a_turn_loses_no_work() -> None:
    """The host's exception passes, and what others left is done all the same."""
    owner, done = Owner(), []
    turn = owner.turn

    def interrupted() -> None:
        turn.leave(lambda: done.append(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        owner.hold(interrupted)
    assert done == [1]
    turn.leave(lambda: done.append(2))
    assert done == [1, 2]


class OutOfTimeError(BaseException):
    """What a signal handler of the host raises."""


def interrupt(point: int, work: Callable[[], object], within: str = "otel_tts.") -> bool:
    """Do some work; raise where Python looks for signals for the n-th time in some modules: a function begins, or one in C returns.

    Return whether it looks so often.
    """
    left = point

    def profile(frame: Any, event: str, _: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_globals.get("__name__", "").startswith(within):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise OutOfTimeError

    sys.setprofile(profile)
    try:
        work()
    except OutOfTimeError:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0


def blocks(tts: Telemetry) -> None:
    """A request in a block, and its stream in one of an attempt."""
    with tts.synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
        list(attempt.stream(iter([SHORT]), FORMAT))


def from_cache(tts: Telemetry) -> None:
    """A request whose audio was in a cache."""
    with tts.synthesis("hello", stream=True) as s, s.lookup("memory") as lookup:
        list(lookup.found(iter([SHORT]), "piper", audio=FORMAT))


def text_in_pieces(tts: Telemetry) -> None:
    """A request whose text streams in."""
    with tts.synthesis(stream=True) as s:
        s.add_text("hel")
        list(s.stream(iter([SHORT for _ in s.text_from(iter(["lo"]))]), "piper", audio=FORMAT))


def failures(tts: Telemetry) -> None:
    """A request that skips a provider, joins another request, and fails."""
    with tts.synthesis("hello") as s:
        s.skipped("piper")
        s.coalesced("espeak")
        s.fail(outcome="error", error_type="timeout")


def rpc_with(answer: Callable[[Rpc], None]) -> Callable[[Telemetry], None]:
    """An RPC with a request inside.

    Args:
        answer: ends the RPC.
    """

    def serve(tts: Telemetry) -> None:
        rpc = Rpc(tts.emitter, "my.Speech/Speak", (), RequestClock(tts.emitter.clock), Internals())
        with Current(rpc.begin()):
            list(tts.synthesis("hello", stream=True).stream(iter([SHORT]), "piper", audio=FORMAT))
        answer(rpc)

    return serve


def answered(rpc: Rpc) -> None:
    """Its handler returns."""
    rpc.answer("OK")
    rpc.finish(True)


def left_by_its_caller(rpc: Rpc) -> None:
    """Its caller leaves."""
    rpc.cancelled()
    rpc.finish(False)


def in_a_foreign_span(tts: Telemetry) -> None:
    """An RPC in a span of another instrumentation, which is described when the status is known."""
    with trace.get_tracer("other").start_as_current_span("rpc", kind=trace.SpanKind.SERVER, attributes={"rpc.system": "grpc"}):
        rpc_with(left_by_its_caller)(tts)


def left_work(_: Telemetry) -> None:
    """Work that was left inside a turn, and outside of one."""
    owner = Owner()
    owner.hold(lambda: owner.turn.leave(list))
    owner.turn.leave(list)


@pytest.mark.parametrize(
    "work",
    [
        blocks,
        from_cache,
        text_in_pieces,
        failures,
        rpc_with(answered),
        rpc_with(left_by_its_caller),
        in_a_foreign_span,
        left_work,
    ],
    ids=lambda work: getattr(work, "__name__", ""),
)
def test_what_a_signal_handler_raises_leaves_no_turn_taken(
    work: Callable[[Telemetry], None], capture_tts: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever Python looks for signals in our code, an exception leaves no lock of a request taken: the next thread would hang."""
    tts = capture_tts.telemetry()
    turns: list[Turn] = []
    create = Turn.__init__

    def created(turn: Turn) -> None:
        create(turn)
        turns.append(turn)

    monkeypatch.setattr(Turn, "__init__", created)
    monkeypatch.setattr(UNDER_WAY, "_references", {})  # what is cut off in the middle of its end stays there
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python ignores what is raised in a finaliser
    point, created_turns = 1, 0
    while contextvars.copy_context().run(interrupt, point, partial(work, tts)):
        held = [turn for turn in turns if turn.lock._is_owned()]  # by this thread: there is no other
        assert not held, f"taken since the signal at {point}"
        created_turns += len(turns)
        turns.clear()
        run_deferred()
        point += 1
    assert point > 5
    assert created_turns  # the last run may have joined a request that was cut off
