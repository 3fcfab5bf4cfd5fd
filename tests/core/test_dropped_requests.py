"""Requests that nobody finishes: dropped, closed in the middle, or never started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from otel_tts import Settings, Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import Outcome
from otel_tts.testing.capture import Capture, FakeClock
from tests.core.picture import FORMAT, HALF, TEXT, aplay, attempted, ordered, points, rpc, summarize


def started(tts: Telemetry) -> Iterator[bytes]:
    """A stream that was pulled once."""
    chunks: Iterator[bytes] = tts.synthesis(TEXT, stream=True).stream(iter([HALF, HALF]), "piper", "joe", audio=FORMAT)
    assert next(chunks) == HALF
    return chunks


def attempting(tts: Telemetry) -> Iterator[bytes]:
    """A handler that was pulled once."""

    def handler() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            yield from s.attempt("piper", "joe").stream(iter([HALF, HALF]), FORMAT)

    chunks = handler()
    assert next(chunks) == HALF
    return chunks


NEVER_FINISHED: dict[str, Callable[[Telemetry], Any]] = {
    "never used": lambda tts: tts.synthesis(TEXT),
    "never pulled": lambda tts: tts.synthesis(TEXT, stream=True).stream(iter([HALF]), "piper", "joe", audio=FORMAT),
    "dropped half way": started,
    "dropped half way, its attempt by hand": attempting,
    "an attempt never entered": lambda tts: tts.synthesis(TEXT).attempt("piper", "joe"),
    "an asynchronous stream": lambda tts: tts.synthesis(TEXT, stream=True).stream(
        aplay([HALF], FakeClock()), "piper", "joe", audio=FORMAT
    ),
}


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", NEVER_FINISHED)
def test_dropped_requests_were_cancelled(capture_tts: Capture, name: str, cycle: bool) -> None:
    """What nobody finishes is finished when it is dropped, once, as of that moment, also by the garbage collector."""
    tts = capture_tts.telemetry()
    held = [NEVER_FINISHED[name](tts)]
    if cycle:
        held.append(held)
    capture_tts.clock.advance(1)
    assert capture_tts.spans == []
    assert capture_tts.total("tts.synthesis.active") == 1
    del held
    gc.collect()
    capture_tts.clock.advance(30)  # until the next export
    gc.collect()
    metrics = points(capture_tts)  # which is what finishes it
    asked = name not in ("never used", "never pulled", "an asynchronous stream")
    assert summarize(capture_tts) == ("cancelled", None, [("piper", "initial", "cancelled", None)] if asked else [])
    assert "tts.synthesis.active" not in metrics
    assert metrics["tts.synthesis.requests"] == ordered(
        [({"tts.language": "_NONE", "tts.voice": "_NONE", "tts.outcome": "cancelled"}, 1)]
    )
    assert [p.sum for p in capture_tts.points("tts.synthesis.duration")] == [pytest.approx(1)]  # type: ignore[union-attr]
    assert [p.sum for p in capture_tts.points("tts.attempt.duration")] == [pytest.approx(1)] * asked  # type: ignore[union-attr]
    tts.run_deferred()
    assert points(capture_tts) == metrics


@pytest.mark.parametrize("name", NEVER_FINISHED)
def test_what_is_dropped_has_the_reason_caller(capture_tts: Capture, name: str) -> None:
    """Nothing tells a stream that the service dropped from a caller that left; with a block around it, it is the same."""
    tts = capture_tts.telemetry()
    NEVER_FINISHED[name](tts)
    with tts.synthesis(TEXT, stream=True) as s:
        s.stream(iter([HALF]), "piper", audio=FORMAT)  # never pulled
    gc.collect()
    assert [view["tts.cancel.reason"] for view in capture_tts.syntheses(outcome="cancelled")] == ["caller", "caller"]


@pytest.mark.parametrize("name", NEVER_FINISHED)
def test_a_shutdown_does_not_stop_what_was_dropped_before(capture_tts: Capture, name: str) -> None:
    """The last request before the process ends, too, was cancelled when it was dropped; what is held still is stopped by the service."""
    tts = capture_tts.telemetry()
    kept = tts.synthesis(TEXT)
    NEVER_FINISHED[name](tts)
    gc.collect()  # as a pipeline does: an attempt and its request refer to each other
    capture_tts.clock.advance(6)
    UNDER_WAY.stop()
    assert sorted(view.outcome for view in capture_tts.syntheses()) == ["cancelled", "error"]
    durations = {
        p.attributes["tts.outcome"]: p.sum  # type: ignore[index,union-attr]
        for p in capture_tts.points("tts.synthesis.duration")
    }
    assert durations == {"cancelled": 0.0, "error": 6.0}
    assert kept.outcome is Outcome.ERROR


def test_the_next_request_finishes_dropped_ones(capture_tts: Capture) -> None:
    """Spans of dropped requests do not wait for an export of metrics: the next request finishes them too."""
    tts = capture_tts.telemetry(settings=Settings.load(environ={}, metrics_enabled=False))
    tts.synthesis(TEXT)
    assert capture_tts._spans.get_finished_spans() == ()
    with tts.synthesis(TEXT):
        assert [view.outcome for view in capture_tts.syntheses()] == ["cancelled"]


def test_a_stream_broken_off_inside_its_attempt(capture_tts: Capture) -> None:
    """An application that has heard enough drops the stream, and may go on in the same attempt, which ends with its block."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        for _ in attempt.stream(iter([HALF, HALF]), FORMAT):
            break
        tts.run_deferred()
        assert list(attempt.stream([HALF], FORMAT)) == [HALF]
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 1.0


def test_a_finished_request_holds_nothing(capture_tts: Capture) -> None:
    """It is freed without the garbage collector: no circle of references, and no exception that keeps its frames."""
    tts = capture_tts.telemetry()
    gc.collect()
    gc.disable()
    try:
        with rpc(capture_tts.clock) as call:
            with tts.synthesis(TEXT) as s:
                with suppress(ConnectionError), s.attempt("piper"):
                    raise ConnectionError
                attempted(s, "openai")
            call.end("OK")
        reference = weakref.ref(s)
        del s, call
        assert reference() is None
    finally:
        gc.enable()


def test_what_streams_is_a_stream(capture_tts: Capture) -> None:
    """A request that was not begun as a stream and streams all the same has a stream's attributes and metrics."""
    tts = capture_tts.telemetry()
    assert list(tts.synthesis(TEXT).stream([HALF], "piper", audio=FORMAT)) == [HALF]
    assert capture_tts.synthesis(outcome="ok")["gen_ai.request.stream"] is True
    assert capture_tts.total("tts.synthesis.time_to_first_byte") == 1
    assert [dict(p.attributes or {}) for p in capture_tts.points("tts.synthesis.duration", {"gen_ai.request.stream": True})]
    assert capture_tts.total("tts.synthesis.active") == 0
