"""Requests within requests, and several in one RPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from otel_tts.testing.capture import Capture
from tests.core.picture import ASKED, FORMAT, HALF, TEXT, attempted, ordered, points, rpc, summarize


def test_an_inner_synthesis_is_the_open_one(capture_tts: Capture) -> None:
    """However many layers ask, it is one request; what the inner one knows more is added."""
    tts = capture_tts.telemetry()
    with tts.synthesis(voice="amy") as outer, outer.lookup("memory"):
        with tts.synthesis(TEXT, "joe", "en") as inner:
            attempted(inner, "piper")
        assert (inner.trace_id, outer.outcome) == (outer.trace_id, None)
    view = capture_tts.synthesis(outcome="ok")
    assert (view["tts.voice"], view["tts.text.length"], len(view.attempts)) == ("amy", 5, 1)
    assert points(capture_tts)["tts.synthesis.requests"] == ordered([(ASKED | {"tts.outcome": "ok"}, 1)])


def test_an_inner_synthesis_inside_a_stream(capture_tts: Capture) -> None:
    """An engine that is instrumented itself joins the request that streams it, and an error it gets over is its own affair."""
    tts = capture_tts.telemetry()

    def engine() -> Iterator[bytes]:
        with pytest.raises(ValueError, match="inner"), tts.synthesis(TEXT):
            raise ValueError("inner")
        yield HALF

    assert list(tts.synthesis(TEXT, stream=True).stream(engine(), "piper", audio=FORMAT)) == [HALF]
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])


def test_several_utterances_in_one_rpc(capture_tts: Capture) -> None:
    """Each is a request: the first one starts with the RPC, a later one by itself; only the last one shares the RPC's fate."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with rpc(clock) as call:
        clock.advance(1)
        for provider in ("piper", "hibari", "espeak"):
            with tts.synthesis(TEXT) as s:
                clock.advance(0.5)
                attempted(s, provider)
            clock.advance(2)
        call.end("CANCELLED", interruption=call.interruption())
    assert [(view.outcome, [a.provider for a in view.attempts]) for view in capture_tts.syntheses()] == [
        ("ok", ["piper"]),
        ("ok", ["hibari"]),
        ("cancelled", ["espeak"]),
    ]
    durations = {
        (p.attributes or {})["gen_ai.provider.name"]: p.sum  # type: ignore[union-attr]
        for p in capture_tts.points("tts.synthesis.duration")
    }
    assert durations == pytest.approx({"piper": 1.5, "hibari": 0.5, "espeak": 2.5})
    spans: list[Any] = [span for span in capture_tts.spans if span.name == "tts.synthesize"]
    assert [span.end_time - span.start_time for span in spans] == pytest.approx([1.5e9, 0.5e9, 2.5e9])


def test_a_synthesis_that_begins_after_its_rpc(capture_tts: Capture) -> None:
    """Work that a handler left to the background, in the RPC's context, finishes by itself once the RPC is over."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        call.end("OK")
        with tts.synthesis(TEXT) as s:
            attempted(s, "piper")
        assert s.outcome == "ok"
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])


@pytest.mark.parametrize("inside", ["block", "attempt", "lookup", "rpc"])
def test_what_joins_what(capture_tts: Capture, inside: str) -> None:
    """Inside an attempt, a look-up or an RPC it is the open request; directly in its block it is another, which counts."""
    tts = capture_tts.telemetry()
    with ExitStack() as around:
        if inside == "rpc":
            around.enter_context(rpc(capture_tts.clock))
        outer = around.enter_context(tts.synthesis(TEXT))
        if inside == "attempt":
            around.enter_context(outer.attempt("piper"))
        elif inside == "lookup":
            around.enter_context(outer.lookup("memory"))
        with tts.synthesis(TEXT) as inner:
            if inside == "block":
                attempted(inner, "piper")
        assert (outer.outcome, inner.outcome) == ((None, "ok") if inside == "block" else (None, None))


def test_what_the_consumer_of_a_generator_starts(capture_tts: Capture) -> None:
    """A generator that yields inside its block does not take in the requests of its consumer."""
    tts = capture_tts.telemetry()

    def speak(provider: str) -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            yield from s.attempt(provider).stream([HALF, HALF], FORMAT)

    for _ in zip(speak("piper"), speak("hibari"), strict=True):
        pass
    assert sorted((view.outcome, [a.provider for a in view.attempts]) for view in capture_tts.syntheses()) == [
        ("ok", ["hibari"]),
        ("ok", ["piper"]),
    ]
