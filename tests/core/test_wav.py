"""WAV files and streams: headers of unknown length, chunks around the audio, files that cannot be read."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from otel_tts.core.audio import PCM16, AudioFacts, AudioFormat, AudioMeter, Encoded, Wav
from otel_tts.core.guard import guard
from otel_tts.core.wav import WavReader
from otel_tts.testing.capture import Capture
from tests.core.signals import measure, pcm16, sine, speechlike, wav


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_of_unknown_length(length: int) -> None:
    """A streamed WAV that couldn't state its length goes on to its end."""
    audio = pcm16(speechlike(8000))
    assert measure(Wav(), wav(audio, length=length)) == measure(PCM16(8000), audio)


def test_wav_chunks_around_the_audio() -> None:
    """Chunks before and after the data, padded or not, are no audio."""
    audio = pcm16(speechlike(8000))
    file = wav(
        audio, before=b"JUNK" + struct.pack("<I", 301) + bytes(302), after=b"LIST" + struct.pack("<I", 5000) + b"\x7f" * 5000
    )
    meter = AudioMeter(Wav())
    assert meter.feed(file) == 2.0
    assert meter.feed(b"LIST\x88\x13\0\0" + b"\x7f" * 5000) == 2.0
    assert meter.facts() == measure(PCM16(8000), audio)


def test_wav_in_single_bytes() -> None:
    """A header that arrives byte by byte says nothing, and is empty, until the first sample is complete."""
    meter = AudioMeter(Wav())
    seen = [(meter.feed(bytes([byte])), meter.seconds, meter.empty) for byte in wav(pcm16(np.ones(2)))]
    assert seen == [(0.0, 0.0, True)] * 45 + [(1 / 8000, 1 / 8000, False)] * 2 + [(2 / 8000, 2 / 8000, False)]


@pytest.mark.parametrize(
    ("data", "rate"),
    [
        (b"ID3\x04", None),
        (b"RIFX\0\0\0\0WAVE", None),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"\0" * 4000, None),
        (wav(bytes(4000), bits=12), 8000),
        (wav(bytes(4000), tag=2, bits=4), 8000),
        (wav(bytes(4000), tag=0xFFFE), 8000),
        (wav(bytes(4000), tag=0xFFFE, extra=struct.pack("<HHIH14s", 22, 16, 4, 1, b"?" * 14)), 8000),
        (wav(bytes(4000), rate=0), None),
        (wav(bytes(4000), bits=12, rate=0), None),
        (wav(bytes(4000), rate=2**32 - 1), None),
        (wav(bytes(4000), channels=0), None),
        (wav(bytes(4000), channels=33), None),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + bytes(4000), None),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data\0\0\0\0" + bytes(4000), None),
        (b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff" + bytes(4000), None),
        (b"RIFF\0\0\0\0WAVELIST\0\0\2\0" + bytes(4000), None),
    ],
    ids=[
        "mp3", "big-endian", "avi", "zeros", "12 bits", "adpcm", "extensible without a subformat", "extensible, own subformat",
        "rate 0", "12 bits, rate 0", "rate 2**32-1", "no channels", "33 channels", "data first", "short fmt", "endless fmt",
        "endless header",
    ],
)  # fmt: skip
def test_wav_that_cannot_be_read(data: bytes, rate: int | None) -> None:
    """What is no WAV, or one of another coding, is unknown; it is never guessed at, and never taken for no audio."""
    meter = AudioMeter(Wav())
    assert (meter.feed(data), meter.seconds, meter.empty, meter.onset_s()) == (0.0, None, False, None)
    assert meter.facts() == AudioFacts(sample_rate=rate)


@pytest.mark.parametrize(
    ("format", "data", "seconds", "facts"),
    [
        (PCM16(8000), b"", 0.0, AudioFacts(duration_s=0.0, sample_rate=8000)),
        (PCM16(8000, 2), b"\1\2\3", 0.0, AudioFacts(duration_s=0.0, sample_rate=8000)),
        (Wav(), b"", 0.0, AudioFacts()),
        (Wav(), b"RIFF\0\0", 0.0, AudioFacts()),
        (Wav(), wav(b""), 0.0, AudioFacts(duration_s=0.0, sample_rate=8000)),
        (Wav(), wav(b"", bits=24), 0.0, AudioFacts(duration_s=0.0, sample_rate=8000)),
        (Encoded("opus", 48000), b"", None, AudioFacts(sample_rate=48000)),
    ],
)
def test_nothing_but_headers(format: AudioFormat, data: bytes, seconds: float | None, facts: AudioFacts) -> None:
    """Without one complete sample there is no audio, and no fact but its duration and rate."""
    meter = AudioMeter(format)
    assert (meter.feed(data), meter.seconds, meter.empty, meter.onset_s()) == (0.0, seconds, True, None)
    assert meter.facts() == facts


def test_encoded_audio_is_unknown() -> None:
    """Of compressed audio nothing is told but the rate that was declared."""
    meter = AudioMeter(Encoded("mp3", 24000))
    assert (meter.feed(b"\xff\xfb\x90"), meter.seconds, meter.empty, meter.onset_s()) == (0.0, None, False, None)
    assert meter.facts() == AudioFacts(sample_rate=24000)


@pytest.mark.parametrize("length", [0, 2**30, 2_000_000_000, 0x7FFF0000, 0xFFFFFFFF])
def test_nothing_is_missing_of_an_unknown_length(length: int) -> None:
    """Sizes that no audio has are not announced audio; of a real one, what has not come is missing, wherever it is cut."""
    audio = pcm16(speechlike(8000))
    reader = WavReader()
    reader.feed(wav(audio, length=length))
    assert reader.missing == 0
    for cut in (0, 1, 2, 3, 1000, len(audio)):
        reader = WavReader()
        reader.feed(wav(audio)[: 44 + cut])
        assert reader.missing == len(audio) - cut


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_waits_is_whole_frames(channels: int) -> None:
    """At each cut the audio so far is all complete frames, also where the last bytes look like the begin of another file."""
    audio = b"RIFRIRaRIFF" * (12 * channels)
    file = wav(audio, channels=channels)
    for cut in range(45, len(file) + 1):
        reader = WavReader()
        pieces = reader.feed(file[: cut // 2]) + reader.feed(file[cut // 2 : cut]) + reader.rest()
        so_far = file[44:cut]
        assert b"".join(data for _, data in pieces) == so_far[: len(so_far) - len(so_far) % (2 * channels)]


MISTAKES: dict[str, tuple[bytes, AudioFormat, str]] = {
    "raw samples": (pcm16(sine(1, 0.5, 8000)), Wav(), "cannot be read as Wav(): It is no WAV file."),
    "two rates": (
        wav(pcm16(sine(1, 0.5, 24_000)), rate=24_000) + wav(pcm16(sine(1, 0.5, 16_000)), rate=16_000),
        Wav(),
        "It changes from PCM16(sample_rate=24000, channels=1) to PCM16(sample_rate=16000, channels=1).",
    ),
    "no samples inside": (wav(b"\x00" * 8000, tag=85), PCM16(24_000), "cannot be read as PCM16(sample_rate=24000, channels=1): "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_audio_that_is_not_what_was_declared_is_said_once(
    name: str, capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, with the place, what was declared, what came and what to do; the figures are unknown, and the request is not."""
    monkeypatch.setattr(guard, "_warned", set())
    data, declared, words = MISTAKES[name]
    tts = capture_tts.telemetry()
    for _ in range(3):
        with tts.synthesis("hello") as s, s.attempt("engine") as attempt:
            attempt.audio(data, declared)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [words in line and "test_wav.py" in line and "Declare the format" in line for line in lines] == [True], lines
    assert {(v.outcome, v["tts.audio.duration"]) for v in capture_tts.syntheses()} == {("ok", None)}


def test_what_a_payload_could_not_give_is_said_once(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The function of the application has failed: that is the warning, and what it means for the audio needs none."""
    monkeypatch.setattr(guard, "_warned", set())
    monkeypatch.setattr(guard, "strict", False)
    stream = capture_tts.telemetry().synthesis("hello", stream=True)
    list(stream.stream([{"pcm": b""}] * 3, "engine", audio=PCM16(8000), payload=lambda chunk: chunk["audio"]))
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
