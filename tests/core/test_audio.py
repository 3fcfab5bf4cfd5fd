"""What is measured of audio: known signals, an independent reading of the definitions, hostile bytes, real speech."""

from __future__ import annotations

import io
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hibari import Hibari
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from otel_tts.core.audio import PCM16, ALaw, AudioFacts, AudioFormat, AudioMeter, Encoded, MuLaw, PCMFloat32, Wav
from tests.core.signals import Signal, measure, pcm16, sine, speechlike, wav


def written(signal: Signal, rate: int, subtype: str, container: str = "WAV") -> bytes:
    """The signal as soundfile writes it; RAW has no header."""
    file = io.BytesIO()
    soundfile.write(file, signal, rate, format=container, subtype=subtype)
    return file.getvalue()


def close(facts: AudioFacts, tolerance: float = 1e-6) -> dict[str, Any]:
    """All facts at once, to be compared with another picture of them. Energy is summed with 24 bits: 2e-7 of a level."""
    return {
        name: None if value is None else pytest.approx(value, rel=tolerance, abs=tolerance)
        for name, value in asdict(facts).items()
    }


TONE = AudioFacts(
    duration_s=2.0,
    sample_rate=16000,
    onset_s=0.3,
    trailing_silence_s=0.5,
    silence_ratio=0.4,
    clipping_ratio=0.0,
    loudness=-20 * math.log10(0.1 / math.sqrt(2)),
    voiced_s=1.2,
    samples=32000,
)


@pytest.mark.parametrize(
    ("format", "subtype", "container"),
    [
        (PCM16(16000), "PCM_16", "RAW"),
        (PCMFloat32(16000), "FLOAT", "RAW"),
        (MuLaw(16000), "ULAW", "RAW"),
        (ALaw(16000), "ALAW", "RAW"),
        (Wav(), "PCM_16", "WAV"),
        (Wav(), "FLOAT", "WAV"),
        (Wav(), "ULAW", "WAV"),
        (Wav(), "ALAW", "WAV"),
        (Wav(), "PCM_16", "WAVEX"),
        (Wav(), "FLOAT", "WAVEX"),
        (Wav(), "ULAW", "WAVEX"),
        (Wav(), "ALAW", "WAVEX"),
    ],
)
def test_known_signal(format: AudioFormat, subtype: str, container: str) -> None:
    """Every readable encoding, as another library writes it, gives the whole known picture of a known signal."""
    facts = measure(format, written(speechlike(16000), 16000, subtype, container))
    assert asdict(facts) == close(TONE, 2e-3)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
def test_silence_is_found_to_the_millisecond_and_the_window(rate: int) -> None:
    """At usual rates a sharp onset is exact to 1 ms, and the rest to one window at each end."""
    facts = measure(PCM16(rate), pcm16(speechlike(rate)))
    assert facts.onset_s == pytest.approx(0.3, abs=0.001)
    assert facts.trailing_silence_s == pytest.approx(0.5, abs=0.0101)
    assert facts.voiced_s == pytest.approx(1.2, abs=0.0201)


@pytest.mark.parametrize("channels", [1, 2, 32])
def test_channels_count_by_their_mean_power(channels: int) -> None:
    """A signal on one of several channels has its power divided by their number, and lasts as long."""
    frames = np.zeros((32000, channels))
    frames[:, 0] = sine(2, 0.5, 16000)
    facts = measure(PCM16(16000, channels), pcm16(frames))
    assert facts.duration_s == 2.0
    assert facts.loudness == pytest.approx(-20 * math.log10(0.5) + 10 * math.log10(2 * channels), abs=1e-3)


@pytest.mark.parametrize(
    ("format", "values", "clipped"),
    [
        (PCM16(8000), np.array([32767, -32768, -32767, 32766, -32766, 0], "<i2"), 3),
        (PCMFloat32(8000), np.array([1, -1, 7.5, 1e30, 0.9999, np.inf, -np.inf, np.nan], "<f4"), 4),
        (MuLaw(), np.array([0x00, 0x80, 0x01, 0x81, 0x7F, 0xFF], "u1"), 2),
        (ALaw(), np.array([0x2A, 0xAA, 0x2B, 0xAB, 0x55, 0xD5], "u1"), 2),
    ],
)
def test_clipping(format: AudioFormat, values: npt.NDArray[Any], clipped: int) -> None:
    """Exactly the samples at an encoding's full scale are clipped."""
    facts = measure(format, np.tile(values, 500))
    assert facts.clipping_ratio == pytest.approx(clipped / len(values))


def test_floats_beyond_full_scale_count_as_full_scale() -> None:
    """What a player cannot play louder isn't measured louder: loudness is never above full scale, nor below zero by rounding."""
    for samples in range(1, 300):
        loudness = measure(PCMFloat32(22050), np.full(samples, 7.5)).loudness
        assert loudness is not None
        assert 0 <= loudness < 1e-12
    beyond, within = (measure(PCMFloat32(8000), np.tile([level, 0.1], 4000)).loudness for level in (7.5, 1.0))
    assert beyond == within


@pytest.mark.parametrize(("format", "subtype"), [(MuLaw(), "ULAW"), (ALaw(), "ALAW")])
def test_every_g711_code(format: AudioFormat, subtype: str) -> None:
    """Each of the 256 codes has the magnitude that another library's decoder gives it."""
    decoded, _ = soundfile.read(
        io.BytesIO(bytes(range(256))), format="RAW", subtype=subtype, samplerate=8000, channels=1, dtype="float64"
    )
    loudest = int(np.abs(decoded).argmax())  # lifts quiet codes above the threshold of what is voiced
    for code, level in enumerate(decoded):
        power = 10 ** (-(measure(format, bytes([code, loudest] * 400)).loudness or 0) / 10)
        assert math.sqrt(abs(2 * power - decoded[loudest] ** 2)) == pytest.approx(abs(level), abs=1e-7)


@pytest.mark.parametrize(
    ("sounds", "onset"),
    [
        ([(0.5, 0.5)], 0.0),
        ([(0.2, 0.0), (0.005, 0.5), (0.3, 0.0)], None),
        ([(0.2, 0.0), (0.005, 0.5), (0.3, 0.0), (0.06, 0.1)], 0.505),
        ([(0.2, 0.009), (0.3, 0.02)], 0.2),
        ([(1.0, 0.009)], None),
    ],
    ids=["from the first sample", "click", "click before speech", "noise floor before speech", "noise floor"],
)
def test_onset(sounds: list[tuple[float, float]], onset: float | None) -> None:
    """The onset is where sound starts that lasts; what the threshold calls silent, and a click, are none."""
    meter = AudioMeter(PCM16(16000))
    meter.feed(pcm16(np.concatenate([sine(seconds, amplitude, 16000) for seconds, amplitude in sounds])))
    assert meter.onset_s() == meter.facts().onset_s == (None if onset is None else pytest.approx(onset, abs=0.007))


def test_onset_is_known_while_the_stream_goes_on() -> None:
    """A stream's onset is unknown until 50 ms are voiced, and then stays what it was."""
    meter = AudioMeter(PCM16(8000))
    onset_readings = []
    for piece in np.split(np.concatenate((np.zeros(800), sine(0.1, 0.5, 8000), np.zeros(8000))), 120):
        meter.feed(pcm16(piece))
        onset_readings.append(meter.onset_s())
    assert onset_readings == [None] * 14 + [0.1] * 106


def test_silence_is_all_silence() -> None:
    """Digital silence is trailing silence from its start, with no onset and no loudness."""
    assert measure(PCM16(8000), bytes(16000)) == AudioFacts(1.0, 8000, None, 1.0, 1.0, 0.0, None, 0.0, 8000)


def test_incomplete_last_window() -> None:
    """Audio shorter than a window is told about, with its own length."""
    assert asdict(measure(PCM16(8000), pcm16(np.full(20, 0.5)))) == close(
        AudioFacts(0.0025, 8000, None, 0.0, 0.0, 0.0, 20 * math.log10(2), 0.0025, 20)
    )


def plain_reading(samples: list[int], rate: int) -> AudioFacts:
    """The definitions, read sample by sample."""
    hop = round(rate / 1000)
    filled = samples + [0] * (-len(samples) % (10 * hop))
    threshold = 10 * hop * 32768**2 // 10**4

    def voiced(start: int) -> bool:
        return sum(sample**2 for sample in filled[max(0, start) : start + 10 * hop]) > threshold

    windows = [start for start in range(0, len(filled), 10 * hop) if voiced(start)]
    lengths = [min(10 * hop, len(samples) - start) for start in windows]
    levels = [voiced(end - 9 * hop) for end in range(0, len(filled), hop)]
    onsets = [at for at in range(len(levels) - 49) if all(levels[at : at + 50])]
    energy = sum(sample**2 for start in windows for sample in filled[start : start + 10 * hop])
    return AudioFacts(
        duration_s=len(samples) / rate,
        sample_rate=rate,
        onset_s=onsets[0] * hop / rate if onsets else None,
        trailing_silence_s=(len(samples) - (windows[-1] + lengths[-1] if windows else 0)) / rate,
        silence_ratio=1 - sum(lengths) / len(samples),
        clipping_ratio=sum(abs(sample) >= 32767 for sample in samples) / len(samples),
        loudness=-10 * math.log10(energy / 32768**2 / sum(lengths)) if windows else None,
        voiced_s=sum(lengths) / rate,
        samples=len(samples),
    )


SOUNDS = st.lists(
    st.tuples(st.integers(1, 700), st.sampled_from([0, 1, 300, 325, 330, 400, 1000, 32766, 32767, 32768])), min_size=1, max_size=8
)


def square(sounds: list[tuple[int, int]]) -> list[int]:
    """Square waves: for each sound so many samples of plus and minus that amplitude."""
    return [max(-32768, min(32767, level * (-1) ** at)) for count, level in sounds for at in range(count)]


@settings(max_examples=60)
@given(SOUNDS, st.sampled_from([8000, 11025]))
@example([(400, 0), (80, 400), (320, 330)], 8000)
def test_plain_reading_of_the_definitions(sounds: list[tuple[int, int]], rate: int) -> None:
    """The vectorised sums say what the definitions say when read sample by sample."""
    samples = square(sounds)
    assert asdict(measure(PCM16(rate), np.array(samples, "<i2"))) == close(plain_reading(samples, rate))


FORMATS: list[AudioFormat] = [PCM16(8000), PCM16(11025, 2), PCMFloat32(8000), MuLaw(), ALaw(8000, 3), Wav(), Encoded("mp3")]
KINDS: list[Callable[[bytes], Any]] = [bytes, bytearray, memoryview, lambda piece: np.frombuffer(piece, "u1")]


@settings(max_examples=150)
@given(st.data(), st.sampled_from(FORMATS), SOUNDS | st.binary(max_size=3000))
def test_splits_make_no_difference(data: st.DataObject, format: AudioFormat, audio: list[tuple[int, int]] | bytes) -> None:
    """The same bytes, split anywhere, in any kind of buffer, asked in between or not, give the same facts."""
    whole = audio if isinstance(audio, bytes) else np.array(square(audio), "<i2").tobytes()
    if isinstance(format, Wav):
        tag, bits = data.draw(st.sampled_from([(1, 16), (3, 32), (6, 8), (7, 8), (1, 24)]))
        length = data.draw(st.sampled_from([None, 0, 0xFFFFFFFF, len(whole) // 2]))
        whole = wav(whole, tag=tag, bits=bits, length=length, before=b"LIST\3\0\0\0abc\0", after=b"LIST\4\0\0\0abcd")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    meter = AudioMeter(format)
    seconds = 0.0
    onsets: set[float | None] = {None}
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        seconds = meter.feed(data.draw(st.sampled_from(KINDS))(whole[start:end]))
        if data.draw(st.booleans()):
            onsets.add(meter.onset_s())
        if data.draw(st.booleans()):
            meter.facts()
    one = AudioMeter(format)
    assert one.feed(whole) == seconds == (meter.seconds or 0.0)
    assert meter.empty == one.empty
    assert onsets <= {None, meter.onset_s()} == {None, one.onset_s()}
    assert asdict(meter.facts()) == close(one.facts())


NOISE = np.random.default_rng(0).normal(0, 0.05, 350_000) * (np.arange(350_000) // 20_000 % 2)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 700_000), max_size=6))
def test_splits_make_no_difference_beyond_a_batch(cuts: list[int]) -> None:
    """So it is with more audio than waits at a time."""
    whole = pcm16(NOISE)
    pieces = [whole[start:end] for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(whole)], strict=True)]
    assert asdict(measure(PCM16(22050), *pieces)) == close(
        measure(PCM16(22050), *(whole[at : at + 4096] for at in range(0, 700_000, 4096)))
    )


@settings(max_examples=150)
@given(st.sampled_from([PCMFloat32(8000), PCMFloat32(1000, 32), PCM16(768000), PCM16(1001), MuLaw()]), st.binary(max_size=4000))
def test_facts_of_any_bytes_are_in_range(format: AudioFormat, data: bytes) -> None:
    """Whatever the bytes, NaN and infinity among them, no fact is NaN or out of its range."""
    meter = AudioMeter(format)
    meter.feed(data)
    assume(meter.format is format)  # the source of a test is known to hypothesis, with the signs of containers in it
    facts = meter.facts()
    assert facts.duration_s is not None
    for seconds in (facts.onset_s, facts.trailing_silence_s, facts.voiced_s):
        assert seconds is None or 0 <= seconds <= facts.duration_s
    for ratio in (facts.silence_ratio, facts.clipping_ratio):
        assert ratio is None or 0 <= ratio <= 1
    assert facts.loudness is None or 0 <= facts.loudness < 41


def test_float_samples_that_are_no_numbers_are_silent() -> None:
    """NaN and infinity among a tone count as zeros do."""
    tone = sine(1, 0.5, 8000).astype("<f4")
    gaps, broken = tone.copy(), tone.copy()
    gaps[::7] = 0
    broken[::7] = np.tile(np.array([np.nan, np.inf, -np.inf], "<f4"), 381)[: len(broken[::7])]
    assert measure(PCMFloat32(8000), broken) == measure(PCMFloat32(8000), gaps)


@pytest.mark.parametrize("format", [PCM16(22050), PCMFloat32(22050), MuLaw(), Encoded("mp3")])
def test_memory_is_bounded(format: AudioFormat) -> None:
    """A long stream keeps no more than what waits for the next look, however it comes and whether it can be read."""
    meter = AudioMeter(format)
    tracemalloc.start()
    for size in (1000, 100_000, 1_000_000):
        for _ in range(5_000_000 // size):
            meter.feed(bytes(size))
    waiting, peak = tracemalloc.get_traced_memory()
    meter.onset_s()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert waiting < 400_000
    assert peak < 8_000_000
    assert kept < 10_000


def test_real_speech() -> None:
    """Speech of a real engine, streamed as its float arrays, gives facts as speech has them, also after telephone coding."""
    text = "Good morning. The train to the coast leaves at seven from platform nine."
    engine = Hibari(threads=1)
    chunks = list(engine.stream(text, speed=1.0, seed=0))
    facts = measure(PCMFloat32(engine.sample_rate), *chunks)
    speech = np.concatenate(chunks)
    assert facts.duration_s == len(speech) / 24000
    assert facts.onset_s is not None
    assert 0 < facts.onset_s < 0.5
    assert facts.trailing_silence_s is not None
    assert 0 <= facts.trailing_silence_s < 0.8
    assert facts.silence_ratio is not None
    assert 0.05 < facts.silence_ratio < 0.6
    assert facts.clipping_ratio == 0
    assert facts.loudness is not None
    assert 12 < facts.loudness < 35
    assert facts.voiced_s is not None
    assert 10 < len(text) / facts.voiced_s < 30
    coded = measure(Wav(), written(speech.astype(np.float64), 24000, "ULAW"))
    assert asdict(coded) == close(facts, 0.05)
