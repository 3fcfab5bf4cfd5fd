"""One provider after another: retries, fallbacks, providers passed over, and calls that outlive their request."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts import Encoded, Wav
from otel_tts.core.audio import AudioFormat
from otel_tts.core.guard import guard
from otel_tts.testing.capture import Capture
from tests.core.picture import (
    CONVENTION,
    COST,
    FORMAT,
    HALF,
    PRICES,
    RATE,
    SPEECH,
    TEXT,
    HttpError,
    P,
    attempted,
    ordered,
    play,
    points,
    roughly,
    rpc,
    summarize,
    tone,
    tree,
)


def test_retries_and_fallbacks(capture_tts: Capture) -> None:
    """The same provider again is a retry, another one a fallback; each hop is counted, with what it was for."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, "amy", "en") as s:
        attempted(s, "openai", HttpError(429))
        attempted(s, "openai", HttpError(500))
        attempted(s, "azure", audio=b"")
        attempted(s, "piper")
    assert summarize(capture_tts) == (
        "ok",
        None,
        [
            ("openai", "initial", "error", "rate_limited"),
            ("openai", "retry", "error", "server_error"),
            ("azure", "fallback", "empty", "no_audio"),
            ("piper", "fallback", "ok", None),
        ],
    )
    view = capture_tts.synthesis()
    assert (view["gen_ai.provider.name"], view["tts.attempt.count"], view["tts.fallback.used"]) == ("piper", 4, True)
    assert view["tts.fallback.providers"] == ("openai", "azure")
    made = {"gen_ai.request.model": "joe"}
    metrics = points(capture_tts)
    names = ("tts.provider.fallbacks", "tts.attempt.duration", "tts.provider.available")
    assert {name: metrics[name] for name in names} == roughly(
        {
            "tts.provider.fallbacks": [
                ({"tts.fallback.from": "openai", "tts.fallback.to": "azure", "error.type": "server_error"}, 1),
                ({"tts.fallback.from": "azure", "tts.fallback.to": "piper", "error.type": "no_audio"}, 1),
            ],
            "tts.attempt.duration": [
                (made | {"gen_ai.provider.name": provider, "tts.outcome": outcome, "tts.attempt.reason": reason} | error, (1, 0))
                for provider, outcome, error, reason in (
                    ("openai", "error", {"error.type": "rate_limited"}, "initial"),
                    ("openai", "error", {"error.type": "server_error"}, "retry"),
                    ("azure", "empty", {"error.type": "no_audio"}, "fallback"),
                    ("piper", "ok", {}, "fallback"),
                )
            ],
            "tts.provider.available": [({"gen_ai.provider.name": "piper"}, 1)],  # the others failed fewer than three times in a row
        }
    )  # fmt: skip
    assert "tts.synthesis.failures" not in metrics


def test_a_second_attempt_after_a_good_one_is_no_fallback(capture_tts: Capture) -> None:
    """A request whose text is spoken in two parts asked each provider for the first time; the audio is the sum."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
        attempted(s, "hibari")
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None), ("hibari", "initial", "ok", None)])
    view = capture_tts.synthesis()
    assert (view["tts.fallback.used"], view["tts.audio.duration"]) == (False, 1.0)
    assert capture_tts.points("tts.provider.fallbacks") == []


def test_figures_of_a_text_that_is_spoken_in_parts(capture_tts: Capture) -> None:
    """The real-time factor is of all the audio; no part is taken for the whole text, so that the speaking rate is unknown."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with tts.synthesis(TEXT) as s:
        for wait_s, length_s in ((0.1, 0.5), (0.8, 1.5), (0.3, 1.0)):
            with s.attempt("piper") as attempt:
                clock.advance(wait_s)
                attempt.audio(tone(length_s), FORMAT)
    view = capture_tts.synthesis()
    assert view["tts.real_time_factor"] == pytest.approx(1.2 / 3.0)
    assert view["tts.audio.speaking_rate"] is None
    assert capture_tts.points("tts.audio.speaking_rate") == []


def test_the_rate_of_speech_that_was_cut_off_is_unknown(capture_tts: Capture) -> None:
    """Nobody knows which part of the text was spoken."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        for _ in attempt.stream([HALF, HALF], FORMAT):
            s.interrupt()
            break
    view = capture_tts.synthesis(outcome="cancelled")
    assert (view["tts.audio.speaking_rate"], capture_tts.points("tts.audio.speaking_rate")) == (None, [])


@pytest.mark.parametrize("served", ["attempt", "hit", "coalesced"])
def test_a_provider_that_was_passed_over(capture_tts: Capture, served: str) -> None:
    """Whoever is asked in place of a provider known to be of no use is its fallback; audio that is there already is none."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        s.skipped("openai")
        if served == "attempt":
            attempted(s, "piper")
        elif served == "hit":
            with s.lookup("memory") as lookup:
                lookup.found(HALF, "piper")
        else:
            s.coalesced("piper")
    asked = served == "attempt"
    assert summarize(capture_tts) == ("ok", None, [("piper", "fallback", "ok", None)] * asked)
    assert capture_tts.synthesis()["tts.fallback.used"] is asked
    assert points(capture_tts).get("tts.provider.fallbacks", []) == ordered(
        [({"tts.fallback.from": "openai", "tts.fallback.to": "piper", "error.type": "unavailable"}, 1)] * asked
    )


def test_a_fallback_that_the_application_knows_of(capture_tts: Capture) -> None:
    """A provider that was passed over without being asked leaves no hop, but the request used a fallback if one is named."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper", reason="fallback", remote=True)
    assert summarize(capture_tts) == ("ok", None, [("piper", "fallback", "ok", None)])
    assert capture_tts.synthesis()["tts.fallback.used"] is True
    assert tree(capture_tts)[0][5][0][1] is SpanKind.CLIENT
    assert capture_tts.points("tts.provider.fallbacks") == []


def test_a_fallback_after_the_first_sample_is_the_applications_affair(capture_tts: Capture) -> None:
    """Nothing forbids it; it is told as what it was: a partial attempt, then a good one, and all of the audio delivered."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s:
        with pytest.raises(ConnectionError):
            list(s.attempt("openai").stream(play([HALF, ConnectionError()], capture_tts.clock), FORMAT))
        assert list(s.attempt("piper").stream([HALF], FORMAT)) == [HALF]
    assert summarize(capture_tts) == (
        "ok",
        None,
        [("openai", "initial", "partial", "connection"), ("piper", "fallback", "ok", None)],
    )
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 1.0


def test_the_provider_is_known_while_it_is_still_at_it(capture_tts: Capture) -> None:
    """An RPC's deadline ends the request while a synchronous handler waits for the engine: who was asked is known."""
    tts = capture_tts.telemetry()
    cancelled = suppress(asyncio.CancelledError)
    with rpc(capture_tts.clock, lambda: 0.0) as call, cancelled, tts.synthesis(TEXT) as s, s.attempt("piper", "joe"):
        call.end("DEADLINE_EXCEEDED", interruption=call.interruption())
        assert s.outcome == "deadline"
        raise asyncio.CancelledError
    assert summarize(capture_tts) == ("deadline", "deadline", [("piper", "initial", "deadline", "deadline")])
    assert capture_tts.total("tts.synthesis.duration", P | {"tts.outcome": "deadline"}) == 1
    assert capture_tts.total("tts.attempt.duration", P) == 1


def test_the_bill_of_an_engine_that_nobody_waits_for(capture_tts: Capture) -> None:
    """An engine that goes on after its RPC's deadline costs what it costs, and its audio was made."""
    tts = capture_tts.telemetry(prices=PRICES)
    with rpc(capture_tts.clock, lambda: 0.0) as call, tts.synthesis(TEXT) as s, s.attempt("piper", "joe") as attempt:
        call.end("DEADLINE_EXCEEDED", interruption=call.interruption())
        attempt.audio(HALF, FORMAT)
    assert summarize(capture_tts) == ("deadline", "deadline", [("piper", "initial", "ok", None)])
    metrics = points(capture_tts)
    assert {name: metrics[name] for name in ("tts.usage.cost", "tts.synthesis.audio", "tts.synthesis.characters")} == roughly(
        {
            "tts.usage.cost": [(P, COST)],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "generated", "tts.audio.source": "provider"}, 0.5)],
            "tts.synthesis.characters": [(P | {"tts.characters.state": "wasted"}, 5)],
        }
    )


def test_an_engine_that_does_not_stream_behind_an_answer_that_does(capture_tts: Capture) -> None:
    """Its audio is handed out with `deliver`, and has a first byte when the first piece is."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with tts.synthesis(TEXT, stream=True) as s:
        with s.attempt("piper", "joe") as attempt:
            audio = attempt.audio(b"".join(play([0.5, HALF, HALF], clock)), FORMAT)
        clock.advance(0.1)
        assert b"".join(s.deliver([audio[:9000], audio[9000:]], FORMAT)) == audio
    view = capture_tts.synthesis(outcome="ok", cache_result="bypass")
    keys = ("tts.audio.duration", "tts.audio.delivered_duration", "tts.real_time_factor", "tts.stream.chunk.count")
    assert [view.first_byte, *(view[key] for key in keys)] == pytest.approx([0.6, 1.0, 1.0, 0.5, 2])
    assert capture_tts.total("tts.synthesis.audio", P | {"tts.audio.source": "provider", "tts.audio.state": "delivered"}) == 1.0


def test_an_attempt_after_the_end_ends_too(capture_tts: Capture) -> None:
    """A handler may not notice that its RPC is over: what it asks for then is an attempt of its own, that ends and is counted."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call, tts.synthesis(TEXT) as s:
        call.end("OK")
        chunks = s.attempt("piper").stream([HALF], FORMAT)
        next(chunks)
        del chunks
    del s, call
    gc.collect()
    assert [(a.provider, a.outcome) for a in capture_tts.synthesis(outcome="ok").attempts] == [("piper", "cancelled")]
    assert capture_tts.total("tts.attempt.duration") == 1
    assert capture_tts.total("tts.synthesis.requests") == 1


def test_a_probe_is_nobodys_request(capture_tts: Capture) -> None:
    """A health probe is an attempt in a trace of its own, and nothing else."""
    tts = capture_tts.telemetry()
    with tts.probe("piper", "joe", remote=True) as probe:
        assert probe.audio(HALF, FORMAT) == HALF
    probe_attributes = {"tts.attempt.reason": "probe", "tts.outcome": "ok"}
    audio = {"tts.audio.duration": 0.5, "tts.audio.format": "pcm16", "tts.audio.sample_rate": RATE, "tts.real_time_factor": 0.0}
    assert tree(capture_tts) == [
        ["text_to_speech joe", SpanKind.CLIENT, StatusCode.UNSET, [], SPEECH | P | probe_attributes | audio, []]
    ]
    assert points(capture_tts) == roughly(
        {
            "tts.attempt.duration": [(P | probe_attributes, (1, 0))],
            "gen_ai.client.operation.duration": [(CONVENTION, (1, 0))],
            "tts.attempt.real_time_factor": [(P, (1, 0))],
            "tts.provider.available": [({"gen_ai.provider.name": "piper"}, 1)],
            "tts.provider.health.age": [({"gen_ai.provider.name": "piper"}, 0)],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "generated", "tts.audio.source": "provider"}, 0.5)],
        }
    )


@pytest.mark.parametrize("format", [FORMAT, Encoded("mp3"), Wav()])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_engine_that_returns_nothing(capture_tts: Capture, format: AudioFormat, *, streamed: bool) -> None:
    """None is no audio, as no bytes are none: the attempt is empty, and costs nothing."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=streamed) as s, s.attempt("piper") as attempt:
        if streamed:
            assert list(attempt.stream([None, None], format)) == [None, None]
        else:
            assert attempt.audio(None, format) is None
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"], view.attempts[0].outcome) == ("empty", "no_audio", "empty")
    assert (view["tts.usage.cost"], capture_tts.total("tts.usage.cost")) == (None, 0)


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (lambda s: s.attempt("piper").audio(7, FORMAT), ("int is no audio", "bytes or a buffer")),
        (lambda s: s.attempt("piper").audio("private", FORMAT), ("A string (length 7) is no audio", "base64")),
        (lambda s: s.attempt("piper").audio("private " * 9, FORMAT), ("A string (length 72) that is not base64",)),
        (lambda s: s.score("mos", -1), ("The score mos is -1", "0 or more")),
        (lambda s: s.score("mos", float("nan")), ("nan is no finite number",)),
        (lambda s: s.score("mos", "private"), ("<str> is no finite number",)),
        (lambda s: s.score("mos", ["private"]), ("<list> is no finite number",)),
        (lambda s: s.lookup("memory").found(HALF, audio=FORMAT, duration="private"), ("duration=<str>", "0 or more")),
        (lambda s: s.queued("private"), ("<str> is left out of tts.queue.wait",)),
        (lambda s: s.encoded("mp3", "private"), ("<str> is left out of tts.encode.duration",)),
        (lambda s: s.heard("private"), ("seconds=<str>",)),
        (lambda s: s.add_text(7), ("A text is str, not int:",)),
    ],
)
def test_a_value_that_cannot_be_used(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, report: Any, says: Sequence[str]
) -> None:
    """The warning says what it was and what is allowed, and never what may be text to speak."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    with capture_tts.telemetry().synthesis(TEXT) as s:
        report(s)
    assert all(words in caplog.text for words in says)
    assert __file__ in caplog.text
    assert "private" not in caplog.text
