"""Audio of requests that do not end well: each figure is that of all the audio that was made or handed out, or unknown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.context import get_current, set_value

from otel_tts import PCM16, Encoded, semconv
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.streams import Current
from otel_tts.testing.capture import Capture

RATE = 16_000
LOUD, QUIET, SILENT = b"\x00\x40\x00\xc0", b"\x00\x10\x00\xf0", bytes(4)
FIGURES = (semconv.AUDIO_LOUDNESS, semconv.AUDIO_SILENCE_RATIO, semconv.AUDIO_CLIPPING_RATIO, semconv.AUDIO_TRAILING_SILENCE)
PIECES = st.lists(st.tuples(st.sampled_from([LOUD, QUIET, SILENT]), st.integers(1, 30)), min_size=1, max_size=4)
CASES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def samples(pieces: list[tuple[bytes, int]]) -> list[bytes]:
    """Pieces of so many windows of 10 ms."""
    return [kind * (RATE // 200 * windows) for kind, windows in pieces]


def broken(chunks: list[bytes]) -> Iterator[bytes]:
    """An engine that fails after these."""
    yield from chunks
    raise ConnectionError


def figures(capture_tts: Capture, audio: list[bytes]) -> list[Any]:
    """What is measured of the same audio when it comes in one piece and all goes well."""
    with capture_tts.telemetry().synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
        list(attempt.stream(iter([b"".join(audio)]), PCM16(RATE)))
    return [capture_tts.syntheses()[-1][figure] for figure in FIGURES]


def same(seen: list[Any], expected: list[Any]) -> bool:
    """Whether all are the same but for the last bits."""
    pairs = zip(seen, expected, strict=True)
    return all(a == b or (None not in (a, b) and math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6)) for a, b in pairs)


@CASES
@given(PIECES)
@pytest.mark.parametrize(
    ("status", "outcome"), [("DEADLINE_EXCEEDED", "deadline"), ("CANCELLED", "cancelled"), ("INTERNAL", "partial")]
)
def test_a_stream_that_is_cut_off(capture_tts: Capture, status: str, outcome: str, pieces: list[tuple[bytes, int]]) -> None:
    """Wherever it is cut: its duration, what was handed out and what is measured are those of the audio until then."""
    chunks = samples(pieces)
    expected = figures(capture_tts, chunks)
    remaining = (lambda: 0.0) if outcome == "deadline" else (lambda: None)
    call = Call(RequestClock(capture_tts.clock), remaining)
    with Current(set_value(CALL, call, get_current())), suppress(ConnectionError):
        s = capture_tts.telemetry().synthesis("hello", stream=True)
        attempt = s.attempt("piper")
        audio = attempt.stream(broken(chunks), PCM16(RATE))
        for _ in chunks:
            next(audio)
        if outcome == "partial":
            next(audio)
    interruption = call.interruption() if outcome != "partial" else None
    call.end(status, interruption=interruption)
    request = capture_tts.syntheses()[-1]
    length_s = len(b"".join(chunks)) / 2 / RATE
    assert request.outcome == outcome
    assert request[semconv.AUDIO_DURATION] == request[semconv.AUDIO_DELIVERED] == length_s
    assert request[semconv.REAL_TIME_FACTOR] is None
    assert same([request[figure] for figure in FIGURES], expected)


@CASES
@given(PIECES, PIECES)
def test_a_stream_that_another_provider_continues(
    capture_tts: Capture, first: list[tuple[bytes, int]], second: list[tuple[bytes, int]]
) -> None:
    """What the first one had handed out before it failed is a part of the audio: made, delivered and measured like the rest."""
    before, after = samples(first), samples(second)
    expected = figures(capture_tts, [*before, *after])
    with capture_tts.telemetry().synthesis("hello", stream=True) as s:
        with suppress(ConnectionError), s.attempt("piper") as attempt:
            list(attempt.stream(broken(before), PCM16(RATE)))
        with s.attempt("kokoro") as attempt:
            list(attempt.stream(iter(after), PCM16(RATE)))
    request = capture_tts.syntheses()[-1]
    assert request.outcome == "ok"
    assert request[semconv.AUDIO_DURATION] == pytest.approx(len(b"".join([*before, *after])) / 2 / RATE)
    assert request[semconv.AUDIO_DELIVERED] == pytest.approx(request[semconv.AUDIO_DURATION])
    assert request[semconv.REAL_TIME_FACTOR] is None  # that of the second one alone is not the request's
    assert same([request[figure] for figure in FIGURES], expected)


@CASES
@given(PIECES, st.integers(0, 2), st.integers(2, 3))
@example([(LOUD, 5)], 0, 2)
@example([(LOUD, 5)], 1, 2)
def test_a_part_that_cannot_be_read(capture_tts: Capture, pieces: list[tuple[bytes, int]], place: int, parts: int) -> None:
    """One of several parts is of a compressed encoding: nothing is said of the length or the sound of the whole."""
    chunks = samples(pieces)
    with capture_tts.telemetry().synthesis("hello", stream=True) as s:
        for number in range(parts):
            with suppress(ConnectionError), s.attempt(f"provider-{number}") as attempt:
                unread = number == place % parts
                audio = [b"\x55\x66" * 400] if unread else chunks
                source = iter(audio) if number == parts - 1 else broken(audio)
                list(attempt.stream(source, Encoded("opus") if unread else PCM16(RATE)))
    request = capture_tts.syntheses()[-1]
    assert request.outcome == "ok"
    for unknown in (semconv.AUDIO_DURATION, semconv.AUDIO_DELIVERED, semconv.REAL_TIME_FACTOR, semconv.UNDERRUN, *FIGURES):
        assert request[unknown] is None, unknown


def test_audio_that_nobody_got(capture_tts: Capture) -> None:
    """A whole answer that fails is discarded: it is neither made by the request nor delivered; at a deadline it was made."""
    for outcome, made in (("error", None), ("deadline", 0.5)):
        with capture_tts.telemetry().synthesis("hello") as s:
            with s.attempt("piper") as attempt:
                attempt.audio(LOUD * (RATE // 4), PCM16(RATE))
                attempt.fail(outcome=outcome)
            s.fail(outcome=outcome)
        request = capture_tts.syntheses()[-1]
        assert request.outcome == outcome
        assert request[semconv.AUDIO_DURATION] == made
        assert request[semconv.AUDIO_DELIVERED] == 0.0


CLIPPED = st.tuples(st.sampled_from([8000, 16_000, 24_000]), st.integers(1, 3), st.integers(1, 40), st.integers(0, 3))


@CASES
@given(st.lists(CLIPPED, min_size=1, max_size=4))
@example([(8000, 1, 10, 3), (8000, 2, 10, 0)])
@example([(8000, 1, 10, 3), (24_000, 1, 10, 0), (8000, 1, 10, 0)])
def test_clipping_of_parts_of_any_shape(capture_tts: Capture, parts: list[tuple[int, int, int, int]]) -> None:
    """Parts of other sample rates and numbers of channels: each sample counts once."""
    clipped = samples = 0
    with capture_tts.telemetry().synthesis("hello", stream=True) as s:
        for rate, channels, tens, loud in parts:
            frame = (b"\xff\x7f" * loud)[: 2 * channels].ljust(2 * channels, b"\x00")
            with s.attempt("piper") as attempt:
                list(attempt.stream(iter([frame * (10 * tens)]), PCM16(rate, channels)))
            samples += channels * 10 * tens
            clipped += min(loud, channels) * 10 * tens
    assert capture_tts.syntheses()[-1][semconv.AUDIO_CLIPPING_RATIO] == pytest.approx(clipped / samples)
