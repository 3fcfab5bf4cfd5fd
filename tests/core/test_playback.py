"""Time to first byte, time to first audio, underruns and real-time factor, as they are defined, on a clock that a test moves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from otel_tts import PCM16, Encoded, Telemetry, Wav
from otel_tts.testing.capture import Capture, FakeClock
from tests.core.signals import wav

RATE = 16000
FORMAT = PCM16(RATE)


def tone(seconds: float) -> bytes:
    """A square wave at half of full scale."""
    return np.resize(np.array([16384, -16384], "<i2"), round(seconds * RATE)).tobytes()


def silence(seconds: float) -> bytes:
    """Zeros."""
    return bytes(2 * round(seconds * RATE))


Engine = Sequence[tuple[float, bytes]]
"""Seconds that the engine takes, and what it gives then."""


def play(engine: Engine, clock: FakeClock) -> Iterator[bytes]:
    """The engine, pulled."""
    for seconds, audio in engine:
        clock.advance(seconds)
        yield audio


async def aplay(engine: Engine, clock: FakeClock) -> AsyncIterator[bytes]:
    """The engine, pulled asynchronously."""
    for audio in play(engine, clock):
        yield audio


@dataclass
class Delivery:
    """What is told of one stream."""

    first_byte: Any
    first_audio: Any
    provider: Any
    consumer: Any
    real_time_factor: Any
    duration: Any


def deliver(capture: Capture, engine: Engine, pauses: Sequence[float] = (), format: Any = FORMAT) -> Delivery:
    """Stream what `engine` makes to a consumer who takes `pauses` after the chunks, and tell how that went, from the metrics."""
    tts, clock = capture.telemetry(), capture.clock
    taking = iter(pauses)
    for _ in tts.synthesis("Hello", stream=True).stream(play(engine, clock), "piper", "joe", audio=format):
        clock.advance(next(taking, 0))
    return delivery(capture)


def delivery(capture: Capture) -> Delivery:
    """From the metrics, all of which have to be there once or not at all."""

    def only(name: str, **attributes: str) -> Any:
        points: list[Any] = capture.points(name, {key.replace("_", "."): value for key, value in attributes.items()})
        assert [p.count for p in points] in ([], [1])
        return pytest.approx(points[0].sum, abs=1e-9) if points else None

    return Delivery(
        only("tts.synthesis.time_to_first_byte"),
        only("tts.synthesis.time_to_first_audio"),
        only("tts.stream.underrun", tts_underrun_cause="provider"),
        only("tts.stream.underrun", tts_underrun_cause="consumer"),
        only("tts.attempt.real_time_factor"),
        only("tts.synthesis.duration"),
    )


def test_sound_from_the_first_sample(capture_tts: Capture) -> None:
    """Then first byte and first audio are the same moment: when the first chunk is handed out."""
    assert deliver(capture_tts, [(0.4, tone(1)), (0.6, tone(1))]) == Delivery(0.4, 0.4, 0, 0, 0.5, 1.0)


def test_leading_silence_is_waiting(capture_tts: Capture) -> None:
    """A listener hears nothing while silence is played: first audio is later than the first byte by its length."""
    assert deliver(capture_tts, [(0.4, silence(0.3) + tone(1))]) == Delivery(0.4, 0.7, 0, 0, pytest.approx(0.4 / 1.3), 0.4)


def test_an_onset_in_a_later_chunk_that_comes_late(capture_tts: Capture) -> None:
    """What cannot be played yet cannot be heard: the arrival of the chunk counts when it comes after the silence before it."""
    delivery = deliver(capture_tts, [(0.4, silence(0.1)), (0.5, silence(0.1)), (0.5, silence(0.1) + tone(0.5))])
    assert (delivery.first_byte, delivery.first_audio) == (0.4, 1.4)


def test_an_onset_in_a_later_chunk_that_comes_early(capture_tts: Capture) -> None:
    """What comes early is heard in its turn: the silence before it counts."""
    delivery = deliver(capture_tts, [(0.4, silence(2)), (0.5, silence(1) + tone(0.5))])
    assert (delivery.first_byte, delivery.first_audio) == (0.4, 3.4)


def test_an_onset_across_two_chunks(capture_tts: Capture) -> None:
    """An onset begins where it begins, also when 50 ms of sound are complete with the next chunk only."""
    delivery = deliver(capture_tts, [(0.4, silence(0.2) + tone(0.02)), (1.0, tone(0.5))])
    assert (delivery.first_byte, delivery.first_audio) == (0.4, pytest.approx(0.6))


def test_a_click_is_no_onset(capture_tts: Capture) -> None:
    """Sound of less than 50 ms is not speech."""
    delivery = deliver(capture_tts, [(0.4, silence(0.5) + tone(0.02) + silence(0.5) + tone(0.3))])
    assert delivery.first_audio == pytest.approx(0.4 + 1.02)


def test_silence_only(capture_tts: Capture) -> None:
    """Nothing was heard: there is a first byte and no first audio."""
    assert deliver(capture_tts, [(0.4, silence(1))]) == Delivery(0.4, None, 0, 0, 0.4, 0.4)


def test_a_long_silence_in_many_chunks(capture_tts: Capture) -> None:
    """Where the onset stands is known however many chunks of silence come before it, without keeping them all."""
    delivery = deliver(capture_tts, [(0.001, silence(0.01))] * 3000 + [(0.5, tone(0.5))] + [(0.001, tone(0.01))] * 600)
    assert (delivery.first_byte, delivery.first_audio) == (0.001, pytest.approx(30.001))


def test_empty_chunks_are_no_bytes(capture_tts: Capture) -> None:
    """An engine may yield nothing for a while; that is waiting for it."""
    delivery = deliver(capture_tts, [(0.4, b""), (0.4, tone(1)), (0.1, b""), (0.1, tone(1))])
    assert delivery == Delivery(0.8, 0.8, 0, 0, 0.5, 1.0)
    assert capture_tts.synthesis()["tts.stream.chunk.count"] == 2


def test_a_header_is_no_audio(capture_tts: Capture) -> None:
    """A WAV header that is flushed at once does not make the first byte of audio come early."""
    header = bytes.fromhex("52494646ffffffff57415645666d74201000000001000100803e0000007d00000200100064617461ffffffff")
    delivery = deliver(capture_tts, [(0.01, header), (0.8, tone(1))], format=Wav())
    assert delivery == Delivery(0.81, 0.81, 0, 0, 0.81, 0.81)


@pytest.mark.parametrize(("pause", "consumer", "duration"), [(0, 0, 1.0), (1, 0.8, 6.0), (3, 8.8, 16.0)])
def test_a_slow_reader(capture_tts: Capture, pause: float, consumer: float, duration: float) -> None:
    """However long the consumer takes over each second of audio: the same real-time factor, and no underrun of the provider's."""
    delivery = deliver(capture_tts, [(0.2, tone(1))] * 5, [pause] * 5)
    # With 3 s, the 5th chunk comes 12.8 s after the 1st, when 4 s of audio have been there.
    assert delivery == Delivery(0.2, 0.2, 0, consumer, 0.2, duration)


def test_a_slow_engine(capture_tts: Capture) -> None:
    """An engine slower than real time leaves the player short whatever the consumer does; the shortfall is the provider's."""
    delivery = deliver(capture_tts, [(0.2, tone(1))] + [(1.5, tone(1))] * 4)
    assert delivery == Delivery(0.2, 0.2, 2.0, 0, pytest.approx(6.2 / 5), 6.2)


def test_a_slow_engine_and_a_slow_reader(capture_tts: Capture) -> None:
    """Each has its own part: what the engine alone would have caused, and what the consumer added to it."""
    delivery = deliver(capture_tts, [(0.2, tone(1))] + [(1.5, tone(1))] * 2, [1, 1, 1])
    # 3rd chunk: 5 s after the 1st, 2 s of audio before: 3 s short, of which waiting for the engine alone makes 1.
    assert delivery == Delivery(0.2, 0.2, 1.0, 2.0, pytest.approx(3.2 / 3), 6.2)


def test_one_gap_among_many_chunks(capture_tts: Capture) -> None:
    """Audible although the real-time factor is fine: the worst shortfall is told."""
    delivery = deliver(capture_tts, [(0.1, tone(0.5)), (0.1, tone(0.5)), (1.4, tone(0.5)), (0, tone(5))])
    assert delivery == Delivery(0.1, 0.1, pytest.approx(0.5), 0, pytest.approx(1.6 / 6.5), 1.6)


def test_a_first_chunk_is_never_late(capture_tts: Capture) -> None:
    """The player starts with it, however long it took."""
    assert deliver(capture_tts, [(60, tone(1))]) == Delivery(60, 60, 0, 0, 60, 60)


def test_the_end_of_an_engine_is_waited_for(capture_tts: Capture) -> None:
    """Time between the last audio and the engine's end is spent waiting for it too."""

    def engine() -> Iterator[bytes]:
        yield tone(1)
        capture_tts.clock.advance(0.5)

    list(capture_tts.telemetry().synthesis("Hello", stream=True).stream(engine(), "piper", audio=FORMAT))
    assert delivery(capture_tts).real_time_factor == 0.5


def test_bytes_that_cannot_be_read(capture_tts: Capture) -> None:
    """Of MP3 the first byte is known and nothing else: no first audio, underrun or real-time factor, and no 0 for any of them."""
    delivery = deliver(capture_tts, [(0.4, b"ID3"), (9, b"...")], format=Encoded("mp3"))
    assert delivery == Delivery(0.4, None, None, None, None, 9.4)
    view = capture_tts.synthesis()
    assert [view[key] for key in ("tts.audio.duration", "tts.audio.delivered_duration", "tts.stream.underrun")] == [
        None,
        None,
        None,
    ]
    assert (view["tts.audio.format"], view["tts.stream.chunk.count"]) == ("mp3", 2)


async def test_asynchronously_it_is_the_same(capture_tts: Capture) -> None:
    """The same definitions hold for asynchronous streams."""
    clock = capture_tts.clock
    s = capture_tts.telemetry().synthesis("Hello", stream=True)
    async for _ in s.stream(aplay([(0.2, silence(0.5) + tone(0.5)), (1.5, tone(1))], clock), "piper", "joe", audio=FORMAT):
        clock.advance(0.5)
    assert delivery(capture_tts) == Delivery(0.2, pytest.approx(0.7), 0.5, 0.5, pytest.approx(0.85), 2.7)


def test_a_second_attempt_continues_the_playback(capture_tts: Capture) -> None:
    """What the first provider delivered is being played: the next one's audio comes late, and has no first byte of its own."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with tts.synthesis("Hello", stream=True) as s:
        list(s.attempt("openai").stream(play([(0.2, silence(0.5))], clock), FORMAT))
        list(s.attempt("piper").stream(play([(1.0, silence(0.25) + tone(1))], clock), FORMAT))
    view = capture_tts.synthesis()
    assert [view.first_byte, view.first_audio, view["tts.stream.underrun"]] == pytest.approx([0.2, 1.2, 0.5])


def test_the_moments_stand_on_the_attempt(capture_tts: Capture) -> None:
    """As events, at the times at which the first byte was handed out and the first sound could be heard."""
    start = capture_tts.clock.wall()
    deliver(capture_tts, [(0.4, silence(0.3) + tone(1))])
    (attempt,) = capture_tts.synthesis().attempts
    assert [(event.name, event.timestamp - start) for event in attempt.span.events] == [
        ("tts.first_byte", 400_000_000),
        ("tts.first_audio", 700_000_000),
    ]


def test_a_unary_answer_has_no_first_byte(capture_tts: Capture) -> None:
    """First byte, first audio and underrun are of streams only, also when the engine behind a unary answer streams."""
    tts: Telemetry = capture_tts.telemetry()
    with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
        list(attempt.stream(play([(0.4, tone(1)), (0.4, tone(1))], capture_tts.clock), FORMAT))
    assert delivery(capture_tts) == Delivery(None, None, None, None, 0.4, 0.8)
    assert capture_tts.synthesis()["tts.stream.chunk.count"] is None


def test_both_parts_and_the_total_of_an_underrun(capture_tts: Capture) -> None:
    """0.3 s lost by the engine and 0.4 s by the reader are 0.7 s for the listener."""
    delivery = deliver(capture_tts, [(0.2, tone(1)), (1.3, tone(1))], [0.4])
    assert (delivery.provider, delivery.consumer) == (pytest.approx(0.3), pytest.approx(0.4))
    synthesis = capture_tts.synthesis()
    assert synthesis["tts.stream.underrun"] == pytest.approx(0.7)
    assert (synthesis["tts.underrun.provider"], synthesis["tts.underrun.consumer"]) == (pytest.approx(0.3), pytest.approx(0.4))


def test_waiting_for_an_empty_chunk_is_the_engines(capture_tts: Capture) -> None:
    """An engine that yields nothing for a while leaves the player short by itself."""
    delivery = deliver(capture_tts, [(0.2, tone(1)), (1.0, b""), (0.5, tone(1))])
    assert (delivery.provider, delivery.consumer) == (pytest.approx(0.5), 0)


@pytest.mark.parametrize("seed", range(30))
def test_streams_that_are_pulled_in_turn_are_counted_once(capture_tts: Capture, seed: int) -> None:
    """However attempts of one request are mixed, what was handed out is what was made, and the first audio is the first that sounds."""
    drawn, clock = random.Random(seed), capture_tts.clock
    sizes = [[drawn.choice([0.1, 0.15, 0.25]) for _ in range(drawn.randint(1, 4))] for _ in range(drawn.randint(2, 4))]
    silent = [drawn.random() < 0.4 for _ in sizes]
    turns = [n for n, each in enumerate(sizes) for _ in each]
    drawn.shuffle(turns)
    with capture_tts.telemetry().synthesis("Hello.", stream=True) as s:
        engines = [[(0.1, silence(one) if silent[n] else tone(one)) for one in each] for n, each in enumerate(sizes)]
        streams = [iter(s.attempt("piper").stream(play(engine, clock), FORMAT)) for engine in engines]
        for n in turns:
            next(streams[n])
        assert not [chunk for stream in streams for chunk in stream]
    view, made_s = capture_tts.synthesis(outcome="ok"), sum(map(sum, sizes))
    assert view["tts.audio.delivered_duration"] == pytest.approx(made_s)
    assert view["tts.audio.duration"] == pytest.approx(made_s)
    assert capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "delivered"}) == pytest.approx(made_s)
    assert view["tts.underrun.provider"] <= view["tts.stream.underrun"]
    came_s = 0.0
    first_s: float | None = None
    for count, n in enumerate(turns, 1):
        if first_s is None and not silent[n]:
            first_s = max(0.1 + came_s, 0.1 * count)
        came_s += sizes[n][turns[: count - 1].count(n)]
    assert view.first_audio == (None if first_s is None else pytest.approx(first_s))


def test_of_streams_in_turn_one_that_cannot_be_read_makes_the_sum_unknown(capture_tts: Capture) -> None:
    """A header alone, of which audio comes after another stream's chunk, does not."""
    sound = wav(tone(0.2), rate=RATE, bits=16)
    for data, encoding, delivered_s in ((sound, Wav(), 0.4), (b"?" * 100, Encoded("mp3"), None)):
        with capture_tts.telemetry().synthesis("Hello.", stream=True) as s:
            first = iter(s.attempt("a").stream([data[:46], data[46:]], encoding))
            other = iter(s.attempt("b").stream([tone(0.1), tone(0.1)], FORMAT))
            for stream in (first, other, first, other):
                next(stream)
            assert not [*first, *other]
        delivered = capture_tts.syntheses()[-1]["tts.audio.delivered_duration"]
        assert delivered == (None if delivered_s is None else pytest.approx(delivered_s))
