"""The formats of audio bytes, and how their samples are read."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from otel_tts.semconv import AUDIO_FORMATS, OTHER

Levels = npt.NDArray[np.float64]

_HEADER = 64 * 1024  # bytes of chunks before a WAV's audio: no engine writes more


def _whole(name: str, value: int, most: int) -> int:
    if not (1 <= value <= most and value == int(value)):
        raise ValueError(f"{name} is {value!r}. Pass what the engine states, a whole number from 1 to {most}.")
    return int(value)  # an engine's configuration may hold numpy's integers, which no span attribute takes


@dataclass(frozen=True, slots=True)
class Samples:
    """Uncompressed audio; its channels are interleaved."""

    name: ClassVar[str]
    dtype: ClassVar[np.dtype[Any]]
    peak: ClassVar[float]  # the level from which a sample is at full scale

    sample_rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_rate", _whole("sample_rate", self.sample_rate, 768_000))
        object.__setattr__(self, "channels", _whole("channels", self.channels, 32))

    def seconds(self, size: int) -> float:
        """How long ``size`` bytes last; a frame that is not complete does not count."""
        return size // (self.dtype.itemsize * self.channels) / self.sample_rate


@dataclass(frozen=True, slots=True)
class PCM16(Samples):
    """Little-endian 16-bit integers. ``sample_rate``: 1 to 768000 Hz; ``channels``: 1 to 32; else ValueError."""

    name = "pcm16"
    dtype = np.dtype("<i2")
    peak = 32767 / 32768


@dataclass(frozen=True, slots=True)
class PCMFloat32(Samples):
    """Little-endian 32-bit floats from -1 to 1; else as :class:`PCM16`."""

    name = "pcm_f32"
    dtype = np.dtype("<f4")
    peak = 1.0


@dataclass(frozen=True, slots=True)
class MuLaw(Samples):
    """G.711 mu-law, one byte a sample; else as :class:`PCM16`."""

    name = "mulaw"
    dtype = np.dtype("u1")
    peak = 32124 / 32768

    sample_rate: int = 8000


@dataclass(frozen=True, slots=True)
class ALaw(Samples):
    """G.711 A-law, one byte a sample; else as :class:`PCM16`."""

    name = "alaw"
    dtype = np.dtype("u1")
    peak = 32256 / 32768

    sample_rate: int = 8000


@dataclass(frozen=True, slots=True)
class Wav:
    """One RIFF/WAVE of 16-bit PCM, 32-bit float or G.711, as its header says.

    Its length may be left open (0 or 0xFFFFFFFF), as in streams; what follows a stated length is no audio.
    """

    name: ClassVar[str] = "wav"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes that cannot be read here, such as MP3. A ``name`` that the registry doesn't know becomes ``_OTHER``."""

    name: str
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        name = self.name.lower()
        object.__setattr__(self, "name", name if name in AUDIO_FORMATS else OTHER)
        if self.sample_rate is not None:
            object.__setattr__(self, "sample_rate", _whole("sample_rate", self.sample_rate, 768_000))


AudioFormat = PCM16 | PCMFloat32 | MuLaw | ALaw | Wav | Encoded

# ITU-T G.711, tables 1 and 2, scaled to 16 bits: segment and step of a code whose inverted bits were turned back.
# The sign is left out: nothing here depends on it.
_SEGMENT, _STEP = np.divmod(np.arange(256) & 0x7F, 16)
_MULAW = (_STEP * 8 + 132 << _SEGMENT) - 132
_ALAW = np.where(_SEGMENT == 0, _STEP * 16 + 8, _STEP * 16 + 264 << np.maximum(_SEGMENT - 1, 0))
_G711 = {MuLaw: _MULAW[::-1] / 32768, ALaw: _ALAW[np.arange(256) ^ 0x55] / 32768}


def levels_of(format: Samples, data: bytes | memoryview) -> Levels:
    """The samples as numbers from -1 to 1."""
    values = np.frombuffer(data, format.dtype)
    levels: Levels
    if isinstance(format, PCM16):
        levels = values.astype(np.float64) * 2.0**-15
    elif isinstance(format, PCMFloat32):
        finite = np.isfinite(values)
        levels = np.clip(values if finite.all() else np.where(finite, values, 0), -1, 1).astype(np.float64)
    else:
        levels = _G711[type(format)][values]
    return levels


_BAD_WAV = Encoded("wav")
_CODINGS: Mapping[tuple[int, int], Callable[[int, int], AudioFormat]] = {
    (1, 16): PCM16,
    (3, 32): PCMFloat32,
    (6, 8): ALaw,
    (7, 8): MuLaw,
}  # by wFormatTag and wBitsPerSample
_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # the GUID of a plain wFormatTag, after the tag


def _coding(fmt: bytes) -> AudioFormat:
    """What a WAV's ``fmt`` chunk describes."""
    if len(fmt) < 16:
        return _BAD_WAV
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and fmt[26:40] == _SUBFORMAT:
        tag = int.from_bytes(fmt[24:26], "little")
    coding = _CODINGS.get((tag, bits))
    try:
        return coding(rate, channels) if coding else Encoded("wav", rate)
    except ValueError:  # no such rate or number of channels
        return _BAD_WAV


def wav_header(data: bytes) -> tuple[AudioFormat, int, int] | None:
    """A WAV's format, where its audio starts and how many bytes that may have; None: the header isn't complete."""
    if data[:4] != b"RIFF"[: len(data)] or data[8:12] != b"WAVE"[: max(0, len(data) - 8)]:
        return _BAD_WAV, 0, 0
    found: AudioFormat = _BAD_WAV
    start = 12
    while start + 8 <= len(data):
        chunk, length = struct.unpack_from("<4sI", data, start)
        start += 8
        if chunk == b"data":
            return found, start, length or sys.maxsize  # 0xFFFFFFFF is no end either: more than a day of audio
        if chunk == b"fmt ":
            found = _coding(data[start : start + length])
        start += length + length % 2
        if start > _HEADER:
            return _BAD_WAV, 0, 0
    return None
