"""A shutdown loses nothing that another thread is just ending."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.context import get_current, set_value

from otel_tts.core import underway
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.streams import Current
from otel_tts.core.underway import UNDER_WAY, Register
from otel_tts.semconv import Outcome
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF

LONG_S = 60


def test_what_another_thread_is_ending_is_waited_for(capture_tts: Capture) -> None:
    """A request whose end is under way in another thread, its turn taken: the shutdown goes on when its span has ended."""
    s = capture_tts.telemetry().synthesis("hello")
    turn = s._request.turn
    inside, on = threading.Event(), threading.Event()

    def end() -> None:
        with turn.lock:
            inside.set()
            assert on.wait(LONG_S)
            s.fail(outcome="error", error_type="timeout")
        turn.leave()

    ender = threading.Thread(target=end)
    ender.start()
    assert inside.wait(LONG_S)
    threading.Timer(0.05, on.set).start()
    UNDER_WAY.stop(LONG_S)
    assert [v.outcome for v in capture_tts.syntheses()] == [Outcome.ERROR]
    ender.join(LONG_S)


def test_nothing_is_left_under_way(capture_tts: Capture) -> None:
    """Requests alone and inside a call, ended and stopped: nothing of them is kept."""
    tts = capture_tts.telemetry()
    with tts.synthesis("hello"):
        pass
    call = Call(RequestClock(capture_tts.clock))
    with Current(set_value(CALL, call, get_current())), tts.synthesis("hello"):
        pass
    call.end("OK")
    kept = tts.synthesis("hello")
    UNDER_WAY.stop(LONG_S)
    assert UNDER_WAY.items() == []
    assert kept.outcome is Outcome.ERROR
    assert len(capture_tts.syntheses()) == 3


def test_nothing_starts_in_a_process_that_ends(capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would begin when telemetry has left waits for the end, as it would be counted nowhere; a forked child goes on."""
    monkeypatch.setattr(underway, "_LONG_S", 0.001)
    register = Register()
    register.end()
    started: list[int] = []
    item = capture_tts.telemetry().synthesis("hello")._request

    def start(number: int) -> None:
        register.add(item)
        started.append(number)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
        thread.join(0.05)
    assert started == []
    register.after_fork_in_child()
    for thread in threads:
        thread.join(60)
    assert sorted(started) == [0, 1]


def test_what_is_counted_is_handed_out_in_a_process_that_ends(capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose attempt has ended before it: its chunks go on until the request ends, and wait after that."""
    monkeypatch.setattr(underway, "_LONG_S", 0.001)
    for name in ("_is_over", "_on_first"):
        monkeypatch.setattr(UNDER_WAY, name, getattr(UNDER_WAY, name))
    handed_out: list[bytes] = []

    def pull() -> threading.Thread:
        thread = threading.Thread(target=lambda: handed_out.append(next(chunks)), daemon=True)
        thread.start()
        return thread

    with capture_tts.telemetry().synthesis("hello", stream=True) as s:
        with s.attempt("piper") as attempt:
            chunks = attempt.stream([HALF] * 3, FORMAT)
        pull().join(LONG_S)
        UNDER_WAY.end()
        pull().join(5)
        assert len(handed_out) == 2
        UNDER_WAY.stop()
        late = pull()
        late.join(0.05)
        assert len(handed_out) == 2
        UNDER_WAY._is_over = False
        late.join(LONG_S)
    assert capture_tts.synthesis(outcome="partial")["tts.audio.delivered_duration"] == 1.0
