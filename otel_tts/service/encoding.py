"""Audio encodings: from the engines' PCM to what the caller asked for, whole or as a stream."""

from __future__ import annotations

import io
import struct
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from otel_tts.service.speech import InvalidInputError, UnsupportedError

SAMPLE_RATES = (8000, 48000)
"""Lowest and highest sample rate anybody may ask for, in Hz."""

Samples = npt.NDArray[np.int16]


class Encoding(StrEnum):
    """What audio can be sent as. The values are those of the attribute for the audio's format."""

    WAV = "wav"
    PCM = "pcm16"
    FLAC = "flac"
    MP3 = "mp3"
    OPUS = "opus"

    @property
    def costly(self) -> bool:
        """Whether encoding belongs in a thread: a second of speech takes a compressor 0.3 to 25 ms, the others microseconds.

        So does resampling, at 0.2 ms for a second.
        """
        return self in _COMPRESSED


class _Compressed:
    """How libsndfile writes one compressed format.

    ``rates`` are the sample rates it can have; none named means all.
    """

    def __init__(self, format: str, subtype: str, rates: tuple[int, ...] = (), **options: str | float) -> None:
        self.format, self.subtype, self.rates, self.options = format, subtype, rates, options

    def open(self, file: io.RawIOBase | io.BytesIO, sample_rate: int) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            file, "w", samplerate=sample_rate, channels=1, format=self.format, subtype=self.subtype, **self.options
        )


_COMPRESSED = {
    Encoding.FLAC: _Compressed("FLAC", "PCM_16"),
    # At a constant bit rate (80 kbit/s at 24 kHz), because a variable one needs a table at the start that is known at the end.
    Encoding.MP3: _Compressed(
        "MP3",
        "MPEG_LAYER_III",
        rates=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    ),
    Encoding.OPUS: _Compressed("OGG", "OPUS", rates=(8000, 12000, 16000, 24000, 48000)),
}
_UNKNOWN = 0xFFFFFFFF


def output_rate(encoding: Encoding, sample_rate: int, target_rate: int | None = None) -> int:
    """The sample rate of the encoded audio: the one asked for, else the voice's, else the next that the encoding has.

    Args:
        encoding: the encoding of the audio that is sent.
        sample_rate: of the audio that is made, in Hz.
        target_rate: that the caller asks for, in Hz; None: as it is made.

    Raises:
        InvalidInputError: ``target_rate`` is out of range or one that the encoding does not have.
    """
    rates = _COMPRESSED[encoding].rates if encoding in _COMPRESSED else ()
    if target_rate is None:
        return sample_rate if not rates else min((rate for rate in rates if rate >= sample_rate), default=rates[-1])
    low, high = SAMPLE_RATES
    if not low <= target_rate <= high or (rates and target_rate not in rates):
        allowed = f"one of {', '.join(map(str, rates))}" if rates else f"from {low} to {high}"
        raise InvalidInputError("sample_rate", f"sample_rate is {target_rate}; for {encoding.name} it has to be {allowed} Hz.")
    return target_rate


def encode(pcm: bytes, sample_rate: int, encoding: Encoding, target_rate: int | None = None) -> bytes:
    """All of ``pcm`` (mono PCM16 of ``sample_rate`` Hz) as one file of exactly its duration.

    Args:
        pcm: PCM16, mono.
        sample_rate: of the audio that is made, in Hz.
        encoding: the encoding of the audio that is sent.
        target_rate: that the caller asks for, in Hz; None: as it is made.

    Raises:
        InvalidInputError: as :func:`output_rate`.
    """
    rate = output_rate(encoding, sample_rate, target_rate)
    samples = np.frombuffer(pcm, "<i2")
    if rate != sample_rate:
        samples = soxr.resample(samples, sample_rate, rate)
    if encoding in _COMPRESSED:
        file = io.BytesIO()
        with _COMPRESSED[encoding].open(file, rate) as writer:
            writer.write(samples)
        return file.getvalue()
    data = samples.astype("<i2", copy=False).tobytes()
    return _wav_header(rate, len(data)) + data if encoding is Encoding.WAV else data


class Encoder:
    """Encodes one stream: what :meth:`feed` and :meth:`finish` return, joined, is a file that can be played as it arrives.

    PCM and WAV come at once, WAV with unknown sizes in its header (0xFFFFFFFF); MP3 within a frame; Opus up to a second late,
    since libsndfile fills Ogg pages of a second. A streamed MP3 is up to four frames longer than the audio (0.1 s at 24 kHz): the
    header that tells players to skip the format's delay needs the length. FLAC is refused, because many readers need it too.

    Args:
        encoding: the encoding of the audio that is sent.
        sample_rate: of the audio that is made, in Hz.
        target_rate: that the caller asks for, in Hz; None: as it is made.

    Raises:
        InvalidInputError: as :func:`output_rate`.
        UnsupportedError: the encoding can't be streamed.
    """

    def __init__(self, encoding: Encoding, sample_rate: int, target_rate: int | None = None) -> None:
        if encoding is Encoding.FLAC:
            raise UnsupportedError(
                "FLAC cannot be streamed: its header needs the length. Ask for WAV, PCM, MP3 or OPUS, or for all at once."
            )
        self.sample_rate = output_rate(encoding, sample_rate, target_rate)
        """Of the encoded audio, in Hz."""
        self._header = _wav_header(self.sample_rate, None) if encoding is Encoding.WAV else b""
        self._resampler = None
        if self.sample_rate != sample_rate:
            self._resampler = soxr.ResampleStream(sample_rate, self.sample_rate, 1, dtype="int16")
        self._written = _Written()
        self._writer = _COMPRESSED[encoding].open(self._written, self.sample_rate) if encoding in _COMPRESSED else None

    def feed(self, pcm: bytes) -> bytes:
        """What can be sent after these whole samples; may be nothing.

        Args:
            pcm: PCM16, mono.
        """
        return self._encode(np.frombuffer(pcm, "<i2"))

    def finish(self) -> bytes:
        """The rest. Nothing can be fed after it."""
        last = self._encode(np.empty(0, "<i2"), last=True)
        if self._writer is None:
            return last
        self._writer.close()
        return last + self._written.take()

    def _encode(self, samples: Samples, last: bool = False) -> bytes:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        if self._writer is not None:
            self._writer.write(samples)
            return self._written.take()
        header, self._header = self._header, b""
        return header + samples.astype("<i2", copy=False).tobytes()


class _Written(io.RawIOBase):
    """A file for a writer that wants to go back and complete its header at the end: what has been sent stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._new = bytearray()
        self._position = self._end = 0

    def take(self) -> bytes:
        """What was appended since the last call."""
        taken = bytes(self._new)
        self._new.clear()
        return taken

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # soundfile writes bytes alone
        if self._position == self._end:
            self._new += data
            self._end += len(data)
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _wav_header(sample_rate: int, size_bytes: int | None) -> bytes:
    """The canonical header of 44 bytes, for ``size_bytes`` bytes of PCM16 mono; None: not known yet."""
    fmt = (1, 1, sample_rate, sample_rate * 2, 2, 16)
    riff, data = (_UNKNOWN, _UNKNOWN) if size_bytes is None else (36 + size_bytes, size_bytes)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, *fmt, b"data", data)
