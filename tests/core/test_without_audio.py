"""Requests that end well without audio: with words to speak it is a failure, with none nobody could have spoken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tts import PCM16, Synthesis
from otel_tts.semconv import Outcome
from otel_tts.testing.capture import Capture

SOUND = PCM16(24_000)


def whole_attempt(synthesis: Synthesis) -> None:
    """An engine that says success and gives no samples."""
    with synthesis.attempt("engine") as attempt:
        attempt.audio(b"", SOUND)


def streamed(synthesis: Synthesis) -> None:
    """A stream that ends at once."""
    for _ in synthesis.stream(iter(()), "engine", audio=SOUND):
        pass


def delivered(synthesis: Synthesis) -> None:
    """Audio from elsewhere, which has no samples."""
    for _ in synthesis.deliver(iter([b""]), SOUND):
        pass


def delivered_whole(synthesis: Synthesis) -> None:
    """The same in one piece."""
    synthesis.deliver(b"", SOUND)


def cached(synthesis: Synthesis) -> None:
    """A cache that has kept no samples."""
    with synthesis.lookup("memory") as lookup:
        lookup.found(b"", "engine", audio=SOUND)


def nobody(synthesis: Synthesis) -> None:
    """Neither an engine is asked nor audio handed out."""


Way = Callable[[Synthesis], None]
WITHOUT: list[Way] = [whole_attempt, streamed, delivered, delivered_whole, cached]


@pytest.mark.parametrize("way", WITHOUT)
@pytest.mark.parametrize("stream", [True, False])
def test_words_without_audio_are_a_failure(capture_tts: Capture, way: Way, stream: bool) -> None:
    """Whoever was to give the audio: the listener heard nothing, and it is no success."""
    with capture_tts.telemetry().synthesis("hello", stream=stream) as synthesis:
        way(synthesis)
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == ("empty", "no_audio")
    assert {attempt.outcome for attempt in view.attempts} <= {"empty"}


@pytest.mark.parametrize("way", [*WITHOUT, nobody])
@pytest.mark.parametrize("text", ["", " \n", "...", "👍", "—"])
def test_no_words_are_no_failure(capture_tts: Capture, way: Way, text: str) -> None:
    """A text without a letter or digit is `rejected`, as the service's own check of it is: in no success rate, no failure of the engine."""
    for _ in range(3):
        with capture_tts.telemetry().synthesis(text, stream=True) as synthesis:
            way(synthesis)
    for view in capture_tts.syntheses():
        assert (view.outcome, view["error.type"]) == ("rejected", "invalid_input")
        assert {attempt.outcome for attempt in view.attempts} <= {"rejected"}
    assert capture_tts.points("tts.provider.available") == []
    assert capture_tts.total("tts.synthesis.failures") == 0


@given(st.lists(st.text(max_size=4), max_size=4), st.sampled_from(["add", "pull", "flush"]), st.sampled_from([*WITHOUT, nobody]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pieces_are_words_together(capture_tts: Capture, pieces: list[str], how: str, way: Way) -> None:
    """Text that came in pieces is judged as a whole, however it was reported."""
    before = len(capture_tts.syntheses())
    with capture_tts.telemetry().synthesis(stream=True) as synthesis:
        if how == "pull":
            list(synthesis.text_from(pieces))
        else:
            for piece in pieces:
                synthesis.add_text(piece)
            synthesis.flush()
        way(synthesis)
    words = any(character.isalnum() for piece in pieces for character in piece)
    expected = ("ok" if way is nobody else "empty") if words else "rejected"
    assert capture_tts.syntheses()[before].outcome == expected


async def test_an_agents_turn_in_which_the_model_says_nothing(capture_tts: Capture) -> None:
    """As the guide writes a turn: without words no failure of anybody, and with words it depends on the engine."""

    async def model(words: str) -> AsyncIterator[str]:
        for word in words.split():
            yield word + " "

    async def engine(text: str) -> AsyncIterator[bytes]:
        for _ in text.split():
            yield b"\1\2" * 2_400

    tts = capture_tts.telemetry()
    for words in ("", "I will tell."):
        async with tts.synthesis(stream=True) as synthesis:
            text = ""
            async for piece in model(words):
                synthesis.add_text(piece)
                text += piece
            synthesis.flush()
            async for _ in synthesis.stream(engine(text), "engine", audio=SOUND):
                pass
    assert [view.outcome for view in capture_tts.syntheses()] == ["rejected", "ok"]


@pytest.mark.parametrize("missed", [False, True])
def test_a_stream_for_which_nothing_came(capture_tts: Capture, *, missed: bool) -> None:
    """An agent that calls `flush` only after a piece of text: a turn without one is as silent as with it, whatever a cache was asked."""
    with capture_tts.telemetry().synthesis(stream=True) as synthesis:
        if missed:
            with synthesis.lookup("memory") as lookup:
                lookup.found(None)
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == ("rejected", "invalid_input")


def end_with(outcome: str, synthesis: Synthesis, audio: bytes) -> None:
    """End a request with each of the outcomes, and with this audio before it as far as that outcome allows some."""

    def engine() -> Iterator[bytes]:
        yield audio
        if outcome in ("partial", "error"):
            raise ConnectionError

    if outcome == "cancelled":
        synthesis.interrupt()
    elif outcome in ("deadline", "rejected"):
        synthesis.fail(outcome=outcome)
    with suppress(ConnectionError), synthesis.attempt("engine") as attempt:
        list(attempt.stream(engine(), SOUND))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_audio_has_no_duration(capture_tts: Capture, outcome: Outcome, *, stream: bool) -> None:
    """Whatever the outcome: the duration of no audio is absent, on requests, attempts and in lists, never 0; of other audio it is not 0."""
    tts = capture_tts.telemetry()
    for audio in (b"", b"\1\2" * 12_000):
        with tts.synthesis("hello", stream=stream) as synthesis:
            end_with(outcome, synthesis, audio)
    silent, spoken = capture_tts.syntheses()
    if outcome not in ("ok", "partial"):
        assert silent.outcome == ("empty" if outcome == "empty" else outcome)
    assert "tts.audio.duration" not in (silent.span.attributes or {})
    assert not any("tts.audio.duration" in (attempt.span.attributes or {}) for attempt in silent.attempts)
    if outcome != "empty" and (stream or outcome not in ("error", "partial")):
        assert spoken["tts.audio.duration"] == 0.5
        assert spoken.attempts[0]["tts.audio.duration"] == 0.5


def test_what_nobody_reports_is_not_known(capture_tts: Capture) -> None:
    """Code that reports neither text nor attempts nor audio: nothing is known of its audio, and that is no failure."""
    tts = capture_tts.telemetry()
    with tts.synthesis():
        pass
    with tts.synthesis("hello", stream=True):
        pass
    with tts.synthesis("...") as synthesis, synthesis.attempt("engine"):
        pass  # its audio is not measured
    assert [view.outcome for view in capture_tts.syntheses()] == ["ok"] * 3


def test_what_the_application_states_counts(capture_tts: Capture) -> None:
    """An outcome that the application states is left as it is, and audio of no words is audio."""
    tts = capture_tts.telemetry()
    with tts.synthesis("...") as synthesis:
        synthesis.fail(outcome="empty")
    with tts.synthesis("...") as synthesis, synthesis.attempt("engine") as attempt:
        attempt.audio(b"\1\2" * 2_400, SOUND)
    assert [view.outcome for view in capture_tts.syntheses()] == ["empty", "ok"]


def test_a_long_text_is_not_searched_for_words(capture_tts: Capture) -> None:
    """A megabyte of dashes costs nothing: only the beginning of a text is looked at, and a long one is taken to have words."""
    searched = 0

    class Dashes(str):
        __slots__ = ()

        def __iter__(self) -> Iterator[str]:
            nonlocal searched
            for character in str(self):
                searched += 1
                yield character

    with capture_tts.telemetry().synthesis(Dashes("-" * 1_000_000)) as synthesis:
        whole_attempt(synthesis)
    assert capture_tts.synthesis().outcome == "empty"
    assert searched == 0
