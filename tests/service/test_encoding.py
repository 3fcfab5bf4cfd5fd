"""What comes out of an encoder, decoded again, is what went in."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from otel_tts.service.encoding import Encoder, Encoding, encode, output_rate
from otel_tts.service.speech import InvalidInputError, UnsupportedError

Samples = npt.NDArray[np.int16]
STREAMABLE = [encoding for encoding in Encoding if encoding is not Encoding.FLAC]
RATES = [(16000, None), (22050, None), (24000, None), (44100, None), (22050, 8000), (24000, 48000)]


def tone(sample_rate: int, seconds: float = 3.003) -> Samples:
    """A tone of 300 Hz that swells twice a second, so that a shift in time would show."""
    time = np.arange(round(sample_rate * seconds)) / sample_rate
    return np.asarray(np.sin(600 * np.pi * time) * np.sin(2 * np.pi * time) ** 2 * 12000, dtype="<i2")


def decode(data: bytes, encoding: Encoding, sample_rate: int) -> tuple[Samples, int]:
    """Samples and sample rate as a common reader sees them."""
    if encoding is Encoding.PCM:
        return np.frombuffer(data, "<i2"), sample_rate
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    return samples, rate


def envelope(samples: Samples, sample_rate: int) -> npt.NDArray[np.float64]:
    """The level in each 20 ms."""
    window = sample_rate // 50
    frames = samples[: len(samples) // window * window].astype(float).reshape(-1, window)
    return np.asarray(np.sqrt((frames**2).mean(axis=1)))


def chunked(pcm: bytes, seed: int = 0) -> list[bytes]:
    """Whole samples in chunks of any size, as engines give them."""
    chance, chunks = random.Random(seed), []
    while pcm:
        size = 2 * chance.randrange(1, 20_000)
        chunks.append(pcm[:size])
        pcm = pcm[size:]
    return chunks


@pytest.mark.parametrize(("sample_rate", "target_rate"), RATES)
@pytest.mark.parametrize("encoding", Encoding)
def test_encoded_audio_sounds_and_lasts_as_before(encoding: Encoding, sample_rate: int, target_rate: int | None) -> None:
    """Every encoding, from every engine's rate, to every kind of rate: the same duration and the same swell."""
    samples = tone(sample_rate)
    rate = output_rate(encoding, sample_rate, target_rate)
    decoded, decoded_rate = decode(encode(samples.tobytes(), sample_rate, encoding, target_rate), encoding, rate)
    assert decoded_rate == rate
    assert len(decoded) == pytest.approx(len(samples) * rate / sample_rate, abs=1)
    expected, received = envelope(samples, sample_rate), envelope(decoded, rate)
    size = min(len(expected), len(received))
    np.testing.assert_allclose(received[:size], expected[:size], atol=600)


@pytest.mark.parametrize(("sample_rate", "target_rate"), RATES)
@pytest.mark.parametrize("encoding", STREAMABLE)
def test_streamed_audio_joins_to_a_file(encoding: Encoding, sample_rate: int, target_rate: int | None) -> None:
    """The concatenation of what was streamed can be decoded and lasts as long; MP3 by up to four of its frames longer."""
    samples = tone(sample_rate)
    encoder = Encoder(encoding, sample_rate, target_rate)
    data = b"".join([*map(encoder.feed, chunked(samples.tobytes())), encoder.finish()])
    decoded, decoded_rate = decode(data, encoding, encoder.sample_rate)
    assert decoded_rate == encoder.sample_rate == output_rate(encoding, sample_rate, target_rate)
    frame = 1152 if decoded_rate >= 32000 else 576
    surplus = len(decoded) - round(len(samples) * decoded_rate / sample_rate)
    assert 0 <= surplus <= (4 * frame if encoding is Encoding.MP3 else 1)
    assert envelope(decoded, decoded_rate).max() == pytest.approx(envelope(samples, sample_rate).max(), rel=0.1)


@pytest.mark.parametrize("encoding", STREAMABLE)
def test_a_stream_comes_while_it_is_fed(encoding: Encoding) -> None:
    """Of two seconds of audio, at most the last one waits for more; nothing else waits for the end."""
    encoder = Encoder(encoding, 24000)
    sizes = [len(encoder.feed(tone(24000, 2.0).tobytes())) for _ in range(4)]
    assert min(sizes) > 0.5 * max(sizes)
    assert len(encoder.finish()) < 0.6 * max(sizes)


def test_pcm_is_passed_on_as_it_is() -> None:
    """Without another rate, PCM costs nothing and changes nothing, whole or streamed."""
    chunks = chunked(tone(22050).tobytes())
    encoder = Encoder(Encoding.PCM, 22050)
    assert [*map(encoder.feed, chunks), encoder.finish()] == [*chunks, b""]
    assert encode(b"".join(chunks), 22050, Encoding.PCM) == b"".join(chunks)


def test_wav_headers_tell_the_length_when_it_is_known() -> None:
    """A file has it; a stream, also one without any audio, has the value that stands for unknown."""
    header = struct.Struct("<4sI4s4sIHHIIHH4sI")
    encoder = Encoder(Encoding.WAV, 22050)
    whole, streamed = encode(bytes(1000), 22050, Encoding.WAV), encoder.feed(bytes(1000)) + encoder.finish()
    assert header.unpack_from(whole) == (
        *(b"RIFF", 1036, b"WAVE", b"fmt ", 16, 1, 1, 22050, 44100, 2, 16),
        *(b"data", 1000),
    )
    assert header.unpack_from(streamed) == (
        *(b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, 22050, 44100, 2, 16),
        *(b"data", 0xFFFFFFFF),
    )
    assert len(Encoder(Encoding.WAV, 22050).finish()) == header.size


@pytest.mark.parametrize(
    ("encoding", "sample_rate", "rate"),
    [
        (Encoding.WAV, 22050, 22050),
        (Encoding.FLAC, 96000, 96000),
        (Encoding.MP3, 22050, 22050),
        (Encoding.MP3, 18000, 22050),
        (Encoding.MP3, 96000, 48000),
        (Encoding.OPUS, 16000, 16000),
        (Encoding.OPUS, 22050, 24000),
        (Encoding.OPUS, 44100, 48000),
    ],
)
def test_the_sample_rate_is_the_voices_or_the_next_that_the_encoding_has(encoding: Encoding, sample_rate: int, rate: int) -> None:
    """A voice's rate that an encoding lacks becomes a higher one, so that nothing is lost."""
    assert output_rate(encoding, sample_rate) == rate


@pytest.mark.parametrize(
    ("encoding", "target_rate", "allowed"),
    [
        (Encoding.PCM, 7999, "from 8000 to 48000"),
        (Encoding.WAV, 0, "from 8000 to 48000"),
        (Encoding.FLAC, -1, "from 8000 to 48000"),
        (Encoding.WAV, 2**31 - 1, "from 8000 to 48000"),
        (Encoding.OPUS, 22050, "one of 8000, 12000, 16000, 24000, 48000"),
        (Encoding.MP3, 9000, "one of 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000"),
    ],
)
def test_impossible_sample_rates_are_refused(encoding: Encoding, target_rate: int, allowed: str) -> None:
    """The message names those that are possible."""
    with pytest.raises(InvalidInputError) as refusal:
        encode(b"", 22050, encoding, target_rate)
    message = f"sample_rate is {target_rate}; for {encoding.name} it has to be {allowed} Hz."
    assert (refusal.value.field, str(refusal.value)) == ("sample_rate", message)


def test_flac_is_not_streamed() -> None:
    """It is refused at once, with what to ask for instead."""
    with pytest.raises(UnsupportedError, match=r"FLAC cannot be streamed.*Ask for WAV, PCM, MP3 or OPUS"):
        Encoder(Encoding.FLAC, 22050)
